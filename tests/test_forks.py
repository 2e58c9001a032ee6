"""A fork leaves as little behind as a program does."""

import os

from forks import Fork


def test_the_file_of_errors_needs_nobody_who_asks_for_them():
    process = Fork(print, "begun")
    assert process.stdout.read() == "begun\n"
    assert os.fstat(process._errors.fileno()).st_nlink == 0
