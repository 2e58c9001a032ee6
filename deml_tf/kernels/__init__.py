"""Faster ways to compute what plain Keras layers compute; the numbers are the same.

The choice is always explicit: training uses the gradients made for the CPU if no GPU is
visible, or as a layer's `cpu_gradients` says; weights are folded and layers compiled in
the twin that `inference_twins` makes of a model, not in the model.
"""

from deml_tf.kernels.keras_settings import pin_keras
from deml_tf.kernels.onednn import prefer_onednn

prefer_onednn()  # before Keras imports TensorFlow
pin_keras()
