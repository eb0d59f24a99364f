"""TensorFlow's own imports warn; they are none of the tests' business, which fail on warnings."""

import warnings

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import models.legacy_keras  # noqa: F401
