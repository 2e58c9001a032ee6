import io
import time
from types import SimpleNamespace

import pytest

from deml_tf.cli.progress import track


@pytest.fixture
def clock(monkeypatch):
    clock = SimpleNamespace(now=7.0)
    monkeypatch.setattr(time, "monotonic", lambda: clock.now)
    return clock


def test_a_file_gets_a_line_a_minute_and_one_at_the_end(clock, capsys):
    for _ in track(["a", "bb", "ccc", "dd"], "reading", 8, size=len):
        clock.now += 30
    assert capsys.readouterr().out == "reading: 3/8\nreading: 8/8\n"


def test_short_work_takes_one_line_and_none_takes_no_line(clock, capsys):
    assert [*track("abc", "reading", 3)] == ["a", "b", "c"]
    assert capsys.readouterr().out == "reading: 3/3\n"
    assert [*track("abc", None, 3)] == ["a", "b", "c"]
    assert not [*track("", "reading", 0)]
    assert capsys.readouterr().out == ""


def test_a_terminal_gets_a_bar(monkeypatch):
    monkeypatch.setattr("sys.stdout", terminal := io.StringIO())
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    assert [*track("abc", "reading", 3)] == ["a", "b", "c"]
    assert "━" in terminal.getvalue() and "reading:" not in terminal.getvalue()


def test_items_are_made_when_they_are_asked_for_and_closed_with_the_rest(capsys):
    made = []

    def items():
        try:
            for n in range(9):
                made.append(n)
                yield n
        finally:
            made.append("closed")

    shown = track(items(), "reading", 9)
    assert not made and next(iter(shown)) == 0 and made == [0]
    del shown
    assert made == [0, "closed"] and capsys.readouterr().out == ""
