import csv
import io
import os

import pytest
from forks import Fork
from rich.progress import track
from rich.table import Table

from deml_tf.cli import command
from deml_tf.cli.command import console
from deml_tf.cli.printing import cell, decodable, printable, say

BYTES = os.fsdecode(b"caf\xe9 \xff")


def test_undecodable_bytes_are_spelled_out():
    assert decodable(BYTES) == printable(BYTES) == r"caf\xe9 \xff"
    assert decodable("é\n\ud800") == "é\n\\ud800"


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("Kiebitz, männlich (2)", "Kiebitz, männlich (2)"),
        ("a\nerror: b\r\t", r"a\nerror: b\r\t"),
        ("\x1b[2J\x9b2K\x07", r"\x1b[2J\x9b2K\x07"),
        ("\u202egnp.exe\u2028", r"\u202egnp.exe\u2028"),
    ],
)
def test_no_name_moves_the_cursor_or_begins_a_line(name, shown, capsys):
    assert printable(name) == shown
    say(name)
    assert capsys.readouterr().out == f"{shown}\n"


@pytest.mark.parametrize("name", ["=cmd|' /C calc'!A0", "+1", "-1", "@SUM(A1)"])
def test_no_cell_is_a_formula(name):
    file = io.StringIO()
    csv.writer(file).writerow([cell(name), cell("a=b"), cell("a\nb")])
    assert next(csv.reader([file.getvalue()])) == [f"'{name}", "a=b", r"a\nb"]


def test_no_text_in_a_table_is_markup(capsys):
    table = Table("class", title="[b]")
    table.add_row("bird [juvenile]")
    table.add_row("[/b] :smile:")
    console().print(table)
    console().print("[red]a")
    output = capsys.readouterr().out
    for text in ("bird [juvenile]", "[/b] :smile:", "[b]", "[red]a"):
        assert text in output


def printed_to_nobody(how):
    reader, writer = os.pipe()
    os.close(reader)
    os.dup2(writer, 1)
    command._guarded(lambda _: how("a"), ["command"], "Interrupted.")


def print_table(text):
    console().print(Table(text))


def show_bar(text):
    for _ in track(text):
        pass


@pytest.mark.parametrize("how", [say, print, print_table, show_bar])
def test_a_pipe_that_nobody_reads_ends_a_command_in_silence(how):
    """Such as that of `| head -1`."""
    process = Fork(printed_to_nobody, how)
    assert process.communicate() == ("", "") and process.returncode == 141
