"""A few seconds of the fuzz of lists; `fuzz_lists.py` runs as long as it is told."""

from tests.data import fuzz_lists


def test_damaged_lists_are_read_or_refused():
    outcomes = fuzz_lists.run(seed=0, count=120)
    assert outcomes["read"] > 10 and outcomes["refused"] > 40
