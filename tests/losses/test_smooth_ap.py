import numpy as np
import pytest
from loops import check_against, labelled, others, shaped, unit

from deml_tf.errors import UsageError
from deml_tf.losses import SmoothAP


def loop(labels, x, temperature=0.01):
    """The formula, positive by positive."""
    cosines = unit(x) @ unit(x).T
    costs = []
    for a in range(len(labels)):
        same, other = others(labels, a)
        precisions = []
        for p in same:

            def above(q, a=a, p=p):
                x = np.clip((cosines[a, p] - cosines[a, q]) / temperature, -500, 500)
                return 1 / (1 + np.exp(x))

            among = 1 + sum(above(q) for q in same if q != p)
            precisions.append(among / (among + sum(above(q) for q in other)))
        if same:
            costs.append(1 - np.mean(precisions))
    return np.sum(costs) / max(len(costs), 1)


@labelled
@shaped
@pytest.mark.parametrize("temperature", [0.05, 1.0])
def test_values_and_gradients_equal_a_loop(
    labels, shape, temperature, central_differences
):
    def here(labels, x):
        return loop(labels, x, temperature)

    check_against(here, SmoothAP(temperature), labels, shape, central_differences)


def test_cold_it_is_the_average_precision():
    """Positives on ranks 1 and 3: (1 + 2/3) / 2."""
    angles = np.deg2rad([0.0, 10.0, 20.0, 30.0, 40.0])
    x = np.stack([np.cos(angles), np.sin(angles)], axis=-1)
    values = SmoothAP(1e-5, reduction="none")([1, 1, 0, 1, 2], x)
    # Three anchors have a positive, of five.
    assert float(values[0]) == pytest.approx(5 / 3 * (1 - (1 + 2 / 3) / 2), abs=1e-5)
    assert float(values[2]) == float(values[4]) == 0


@pytest.mark.parametrize("temperature", [0, -1.0, float("nan")])
def test_temperatures_out_of_range(temperature):
    with pytest.raises(UsageError, match="temperature"):
        SmoothAP(temperature)
