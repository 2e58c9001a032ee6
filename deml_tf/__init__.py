"""Decoupled Metric Learning (DeML) for zero-shot image retrieval, in Keras 3.

Importing the package registers its layers, losses and optimizer with Keras, so that
saved models load, in safe mode too. It also pins Keras to TensorFlow and to its default
image data format, floatx and epsilon.

If Keras already runs on JAX or PyTorch, or TensorFlow is not installed, only
`deml_tf.losses` is available.
"""

import importlib.util
import sys
from typing import TYPE_CHECKING

HAS_TENSORFLOW = (
    sys.modules["keras"].config.backend() == "tensorflow"
    if "keras" in sys.modules
    else importlib.util.find_spec("tensorflow") is not None
)

if TYPE_CHECKING or HAS_TENSORFLOW:
    from deml_tf import kernels  # noqa: F401  sets Keras up before anything is built

from deml_tf import losses  # noqa: E402

if TYPE_CHECKING or HAS_TENSORFLOW:
    from deml_tf import backbones, layers
    from deml_tf.layers.adversary import Adversary
    from deml_tf.models.embedder import build_deml, explainer
    from deml_tf.training.optimizer import GroupedAdam

if TYPE_CHECKING:
    from deml_tf import retrieval
else:

    def __getattr__(name: str):
        """Import `retrieval` on first use: embedding alone does not need faiss."""
        if name in __all__:  # any other that is missing needs TensorFlow
            module = name if name == "retrieval" else "kernels"
            return importlib.import_module(f"{__name__}.{module}")
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "Adversary",
    "GroupedAdam",
    "backbones",
    "build_deml",
    "explainer",
    "layers",
    "losses",
    "retrieval",
]
