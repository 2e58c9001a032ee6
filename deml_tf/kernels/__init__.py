"""Faster ways to compute what plain Keras layers compute; the numbers are the same.

Which way is taken is always said: training uses the gradients made for the CPU where no
GPU is visible, or as a layer's `cpu_gradients` says, and weights are folded and layers
compiled in the twin that `inference_twins` makes of a model, not in the model.
"""

from deml_tf.kernels.keras_settings import pin_keras
from deml_tf.kernels.onednn import prefer_onednn

prefer_onednn()  # before Keras imports TensorFlow
pin_keras()
