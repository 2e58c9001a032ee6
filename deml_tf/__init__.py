"""Decoupled Metric Learning (DeML) for zero-shot image retrieval, in Keras 3.

Importing the package registers its layers and losses with Keras, so that saved
embedders load.
"""

from deml_tf import backbones, layers, losses, retrieval
from deml_tf.models.embedder import build_deml, explainer

__all__ = ["backbones", "build_deml", "explainer", "layers", "losses", "retrieval"]
