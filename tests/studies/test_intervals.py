"""Means, intervals and paired differences, against tables and other formulas."""

import math
from typing import Any

import numpy as np
import pytest
from scipy import stats

from deml_tf.studies.intervals import estimate, paired_difference


def test_by_hand():
    # Mean 4, squares of the deviations 4 + 0 + 4, so s = 2; t with 2 degrees of freedom
    # has a closed form, 4.3027.
    found = estimate([2.0, 4.0, 6.0])
    assert found is not None
    assert (found.n, found.mean, found.deviation) == (3, 4.0, 2.0)
    half = 0.95 * math.sqrt(2 / (1 - 0.95**2)) * 2 / math.sqrt(3)
    assert found.low == pytest.approx(4 - half, abs=1e-8)
    assert found.high == pytest.approx(4 + half, abs=1e-8)
    assert found.half == pytest.approx(half, abs=1e-8)
    assert found.excludes_zero is False


@pytest.mark.parametrize(("n", "t"), [(2, 12.706), (5, 2.776), (31, 2.042)])
def test_quantiles_are_those_of_the_printed_table(n, t):
    values = np.arange(n) - (n - 1) / 2
    found = estimate(values)
    assert found is not None and found.half is not None
    assert found.half == pytest.approx(t * values.std(ddof=1) / n**0.5, rel=3e-4)


def test_as_another_formula_gives_it():
    values = np.random.default_rng(0).normal(0.5, 0.1, 7)
    found = estimate(values)
    wanted = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert found is not None
    assert (found.low, found.high) == pytest.approx((wanted.low, wanted.high))


def test_one_value_has_no_interval_and_none_no_mean():
    assert estimate([0.25]) == (1, 0.25, None, None, None)
    assert estimate([0.25]).half is None and not estimate([0.25]).excludes_zero
    assert estimate([]) is None


def test_equal_values_have_an_interval_of_no_length():
    found = estimate([0.5, 0.5, 0.5])
    assert found == (3, 0.5, 0.0, 0.5, 0.5) and found.excludes_zero


def test_differences_are_taken_seed_by_seed():
    # Of the common seeds 1 and 2 they are 0.1 and 0.3: mean 0.2, s = sqrt(0.02).
    found = paired_difference({1: 0.5, 2: 0.9, 3: 9.0}, {0: 7.0, 2: 0.6, 1: 0.4})
    # With 1 degree of freedom t is a tangent, 12.706.
    half = math.tan(0.475 * math.pi) * math.sqrt(0.02 / 2)
    assert found is not None and found.n == 2
    assert (found.mean, found.half) == pytest.approx((0.2, half))
    assert paired_difference({1: 0.5}, {2: 0.5}) is None


def test_pairing_takes_out_what_seeds_do_to_both():
    seeds = np.random.default_rng(1).normal(0, 1, 6)
    reference = dict(enumerate(seeds))
    better = {seed: value + 0.1 for seed, value in reference.items()}
    found: Any = paired_difference(better, reference)
    alone: Any = estimate(better.values())
    assert found.mean == pytest.approx(0.1) and found.excludes_zero
    assert found.half < 1e-9 < 0.1 < alone.half


@pytest.mark.parametrize("n", [2, 3, 5])
def test_the_interval_holds_the_true_mean_as_often_as_it_says(n):
    studies = np.random.default_rng(n).normal(0.3, 2.0, (4000, n))
    found: list[Any] = [estimate(values) for values in studies]
    share = np.mean([e.low <= 0.3 <= e.high for e in found])
    # Four standard deviations of a share of 4000.
    assert abs(share - 0.95) < 4 * math.sqrt(0.95 * 0.05 / 4000)
