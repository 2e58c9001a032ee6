"""Rules that make the learners of a scale differ."""


class Hinge:
    """Hinge on the distances between learners."""


class Adversary:
    """Adversary that predicts each learner from each other one.

    Args:
        steps: Updates of the adversary for each update of the embedder, at least 1.
        learning_rate: Learning rate of the adversary's Adam, above 0.
        hidden: Hidden units of each predictor, at least 1.
    """

    def __init__(self, steps: int = 1, learning_rate: float = 1e-3, hidden: int = 256):
        self.arguments = steps, learning_rate, hidden


class Reversal:
    """The adversary, through a gradient-reversal layer.

    Args:
        learning_rate: Learning rate of the adversary's Adam, above 0.
        hidden: Hidden units of each predictor, at least 1.
    """

    def __init__(self, learning_rate: float = 1e-3, hidden: int = 256):
        self.arguments = learning_rate, hidden


class NoDecoupling:
    """No term."""


DECOUPLINGS = {
    "hinge": Hinge,
    "adversary": Adversary,
    "reversal": Reversal,
    "none": NoDecoupling,
}
