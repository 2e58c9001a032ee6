"""Callbacks for the `fit` of any Keras model."""

from deml_tf.callbacks.retrieval_metrics import RetrievalMetrics

__all__ = ["RetrievalMetrics"]
