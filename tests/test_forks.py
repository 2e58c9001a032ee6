"""A fork leaves as little behind as a program does."""

import atexit
import os

from forks import Fork


def test_the_file_of_errors_needs_nobody_who_asks_for_them():
    process = Fork(print, "begun")
    assert process.stdout.read() == "begun\n"
    assert os.fstat(process._errors.fileno()).st_nlink == 0


def print_at_exit():
    atexit.register(print, "tidied up")
    raise SystemExit(3)


def test_it_does_at_its_end_what_it_registered():
    process = Fork(print_at_exit)
    assert process.communicate() == ("tidied up\n", "")
    assert process.returncode == 3
