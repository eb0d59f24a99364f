"""From logs to a blessed release, as a TFX pipeline."""

import models  # noqa: F401  (chooses Keras 2 before anything here imports TensorFlow)
