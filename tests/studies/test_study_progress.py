"""What is seen of a study while it goes on."""

import io
import re
from types import SimpleNamespace

from rich.console import Console

from deml_tf.studies.progress import StudyProgress
from deml_tf.studies.records import Record


def test_a_narrow_terminal_cuts_the_names_alone(bar_clock):
    progress = StudyProgress(16, 4)
    runs = [SimpleNamespace(name=f"DeML(3,3), seed {n}") for n in range(6)]
    progress.show(runs)
    bar_clock.now += 3600
    for n in range(4):
        progress.finish(Record(f"U{n}", 0, {}, {}, []))
        bar_clock.now += 2
    screen = io.StringIO()
    console = Console(width=80, force_terminal=True, color_system=None, file=screen)
    console.print(progress.bar.get_renderable())
    (line,) = screen.getvalue().splitlines()
    words = r"runs *8/16 ━+ +DeML\(3,3\).* 1:00:08 left 2:00:10"
    assert re.fullmatch(words, line), line


def test_off_a_terminal_there_are_lines_alone(capsys):
    with StudyProgress(1, 0) as progress:
        progress.finish(Record("U1", 0, {}, {"recall_at_1": 0.5}, []))
    assert capsys.readouterr().out == "1/1  U1, seed 0: Recall@1 0.500\n"
