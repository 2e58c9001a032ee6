"""Decoupled Metric Learning (DeML) for zero-shot image retrieval, in Keras 3.

Importing the package registers its layers, losses and optimizer with Keras, so that
saved models load, in safe mode too. It also settles Keras's global settings.
"""

from typing import TYPE_CHECKING

from deml_tf.kernels.keras_settings import pin_keras

pin_keras()  # before anything of Keras is made

from deml_tf import backbones, layers, losses  # noqa: E402
from deml_tf.layers.adversary import Adversary  # noqa: E402
from deml_tf.models.embedder import build_deml, explainer  # noqa: E402
from deml_tf.training.optimizer import GroupedAdam  # noqa: E402

if TYPE_CHECKING:
    from deml_tf import retrieval
else:

    def __getattr__(name: str):
        """Import `retrieval` at its first use: embedding alone does not need faiss."""
        if name != "retrieval":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        import importlib

        return importlib.import_module(f"{__name__}.{name}")


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
