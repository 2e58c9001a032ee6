"""The exponent that the growth benchmarks report."""

import numpy as np
import pytest

from benchmarks.fit import exponent_row, power_law


@pytest.mark.parametrize("exponent", [-1.0, 0.0, 0.5, 1.0, 2.0, 3.25])
@pytest.mark.parametrize("sizes", [(1, 2, 3), (64, 128, 256, 512), (7e3, 1e-3, 5.0)])
def test_an_exact_power_law_is_recovered(exponent, sizes):
    law = power_law(sizes, [0.3 * size**exponent for size in sizes])
    assert law.exponent == pytest.approx(exponent, abs=1e-9)
    assert law.factor == pytest.approx(0.3, rel=1e-9)
    assert law.error == pytest.approx(0.0, abs=1e-9)


def test_the_error_is_that_of_the_slope():
    """Over centred x in {-1, 0, 1}, y in {0, 3, 0}: slope 0, residuals -1, 2, -1."""
    law = power_law(np.exp([-1.0, 0.0, 1.0]), np.exp([0.0, 3.0, 0.0]))
    assert law.exponent == pytest.approx(0.0, abs=1e-12)
    assert law.factor == pytest.approx(np.e)
    assert law.error == pytest.approx(np.sqrt(6.0 / 1 / 2))


def test_the_error_covers_noise_as_often_as_it_should():
    rng = np.random.default_rng(0)
    sizes = 2.0 ** np.arange(12)
    laws = [
        power_law(sizes, sizes**1.5 * np.exp(e)) for e in rng.normal(size=(500, 12))
    ]
    inside = np.mean([abs(law.exponent - 1.5) < law.error for law in laws])
    assert 0.6 < inside < 0.72  # Student's t with 10 degrees of freedom: 0.66


def test_neither_order_nor_unit_changes_the_exponent():
    sizes, values = np.array([1, 2, 5, 9.0]), np.array([1.1, 3.0, 11.0, 31.0])
    law = power_law(sizes, values)
    other = power_law(1e3 * sizes[::-1], 1e-6 * values[::-1])
    assert other.exponent == pytest.approx(law.exponent)
    assert other.error == pytest.approx(law.error)


def test_the_row_says_how_sure_it_is():
    sizes, values = [1, 2, 4, 8], [1.0, 2.2, 3.7, 8.4]
    law, row = power_law(sizes, values), exponent_row("growth", "steps", sizes, values)
    assert (row.group, row.name, row.value) == ("growth", "steps", law.exponent)
    assert row.spread == (law.exponent - law.error, law.exponent + law.error)


@pytest.mark.parametrize(
    "sizes, values, message",
    [
        ([], [], "0 different sizes are too few"),
        ([1, 2], [1, 2], "2 different sizes are too few"),
        ([1, 2, 2, 1], [1, 2, 2, 1], "2 different sizes are too few"),
        ([1, 2, 3], [1, 2], "give one value a size"),
        ([[1, 2, 3]], [[1, 2, 3]], "give one value a size"),
        ([0, 1, 2], [1, 2, 3], "above 0"),
        ([1, 2, 3], [1, -2, 3], "above 0"),
        ([1, 2, 3], [1, 0, 3], "above 0"),
        ([1, 2, np.nan], [1, 2, 3], "finite"),
        ([1, 2, 3], [1, 2, np.inf], "finite"),
    ],
)
def test_bad_input_is_refused(sizes, values, message):
    with pytest.raises(ValueError, match=message):
        power_law(sizes, values)
