"""The networks, their losses and metrics, calibration, and the release that carries them to serving."""

import os

# Here rather than in models/legacy_keras.py, because it must come before whoever imports TensorFlow first, such as
# tensorflow_transform: tensorflow-recommenders needs Keras 2.
os.environ["TF_USE_LEGACY_KERAS"] = "1"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
