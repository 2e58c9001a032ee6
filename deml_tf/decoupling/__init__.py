"""Ways to keep a scale's learners different: one per file, each listed once, below."""

from deml_tf.decoupling.adversary import AdversaryDecoupling
from deml_tf.decoupling.decoupling import Decoupling
from deml_tf.decoupling.hinge import HingeDecoupling
from deml_tf.decoupling.none import NoDecoupling
from deml_tf.decoupling.reversal import ReversalDecoupling

# The value of the setting `decoupling`, and the class behind it.
DECOUPLINGS: dict[str, type[Decoupling]] = {
    "hinge": HingeDecoupling,
    "adversary": AdversaryDecoupling,
    "reversal": ReversalDecoupling,
    "none": NoDecoupling,
}

__all__ = [
    "DECOUPLINGS",
    "AdversaryDecoupling",
    "Decoupling",
    "HingeDecoupling",
    "NoDecoupling",
    "ReversalDecoupling",
]
