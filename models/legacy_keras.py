"""TensorFlow with Keras 2, which tensorflow-recommenders needs. Import `tf`, `keras` and `tfrs` from here and nowhere else.

TensorFlow 2.16 and later bring Keras 3 as `tf.keras` unless TF_USE_LEGACY_KERAS is set before the first import, as
models/__init__.py does.
"""

from typing import Any

import tensorflow as tf
import tensorflow_recommenders as tfrs
import tf_keras as keras


def _keep_autograph_out_of_keras() -> None:
    """Tells AutoGraph that tf_keras needs no conversion, as it already knows of keras: the first epoch takes 2 s, not 21 s.

    The list is private to TensorFlow; where it has moved, training is slower and nothing else.
    """
    try:
        from tensorflow.python.autograph.core import config
    except ImportError:
        return
    rules: Any = getattr(config, "CONVERSION_RULES", None)
    rule = getattr(config, "DoNotConvert", None)
    if isinstance(rules, tuple) and rule is not None:
        config.CONVERSION_RULES = (rule("tf_keras"), *rules)


_keep_autograph_out_of_keras()

__all__ = ["keras", "tf", "tfrs"]
