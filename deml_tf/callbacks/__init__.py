"""Callbacks for the `fit` of any Keras model."""

from deml_tf import kernels  # noqa: F401  says where Keras runs on another backend
from deml_tf.callbacks.retrieval_metrics import RetrievalMetrics

__all__ = ["RetrievalMetrics"]
