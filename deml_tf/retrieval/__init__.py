"""Exact retrieval: nearest neighbours, and the scores of a ranking."""

from deml_tf.retrieval.metrics import evaluate, per_class, score_queries
from deml_tf.retrieval.neighbours import nearest

__all__ = ["evaluate", "nearest", "per_class", "score_queries"]
