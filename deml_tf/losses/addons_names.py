"""The losses of tensorflow-addons by their names, for models that were saved with them.

    import deml_tf.losses.addons_names

registers `Addons>TripletSemiHardLoss` and the others with Keras. A model whose
configuration names one of them is then loaded with our loss in its place, and is saved
again under our names. Nothing else in the package imports this module.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import keras

from deml_tf.errors import UsageError
from deml_tf.losses.lifted_structure import LiftedStructure
from deml_tf.losses.triplet import Triplet

_SQUARED = {"L2": False, "squared-L2": True}


def _common(config: dict[str, Any], kind: str) -> dict[str, Any]:
    # Theirs say "none", as they return a scalar; ours return one value per anchor.
    own = config.get("reduction", "none")
    reduction = "sum_over_batch_size" if own in ("none", "auto") else own
    return {"reduction": reduction, "name": config.get("name") or kind}


def _triplet(config: dict[str, Any], sampling: Any) -> Triplet:
    metric = config.get("distance_metric", "L2")
    if metric not in _SQUARED:
        raise UsageError(
            f"Addons' distance_metric={metric!r} has no successor: compile the model "
            "again with deml_tf.losses.Triplet, whose distances are of unit vectors."
        )
    return Triplet(
        margin=config.get("margin", 1.0),
        sampling=sampling,
        soft=config.get("soft", False),
        squared=_SQUARED[metric],
        **_common(config, "triplet"),
    )


def _lifted(config: dict[str, Any]) -> LiftedStructure:
    return LiftedStructure(
        margin=config.get("margin", 1.0), **_common(config, "lifted_structure")
    )


def _refuse(name: str, ours: str, given: str) -> Callable[[dict[str, Any]], Any]:
    def refuse(config: dict[str, Any]) -> Any:
        raise UsageError(
            f"Addons>{name} took {given}, and deml_tf.losses.{ours} takes embeddings: "
            "load the model with compile=False, take its embeddings as the output, and "
            f"compile it with {ours}."
        )

    return refuse


_SUCCESSORS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "TripletSemiHardLoss": partial(_triplet, sampling="semi_hard"),
    "TripletHardLoss": partial(_triplet, sampling="hard"),
    "LiftedStructLoss": _lifted,
    "ContrastiveLoss": _refuse("ContrastiveLoss", "Contrastive", "distances"),
    "NpairsLoss": _refuse("NpairsLoss", "NPairs", "a matrix of similarities"),
    "NpairsMultilabelLoss": _refuse(
        "NpairsMultilabelLoss", "NPairs", "a matrix of similarities"
    ),
}

for _name, _make in _SUCCESSORS.items():
    # Only for loading: the result is one of our losses. Keras requires both methods.
    _methods = {"from_config": staticmethod(_make), "get_config": lambda self: {}}
    _class = type(_name, (), _methods)
    keras.saving.register_keras_serializable(package="Addons", name=_name)(_class)
