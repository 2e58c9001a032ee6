"""A slice of the fuzz of headers; `fuzz_headers.py` runs as long as it is told."""

import pytest

from tests.serving import fuzz_headers


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_damaged_headers_promise_no_less_than_they_hold(monkeypatch):
    monkeypatch.setattr(fuzz_headers, "SIDES", (0, 1, 2, 300, 70_000, 2**31))
    outcomes = fuzz_headers.run(seed=0, count=80)
    assert min(outcomes[name] for name in ("refused", "broken", "read")) > 5
