"""Every kind of wrong input: one sentence, the right status, nothing left behind.

The page BAD_INPUT.md is made of the same cases; `make bad-input` rewrites it.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import backbones_cases
import client_cases
import embed_cases
import flags_cases
import images_cases
import index_cases
import layouts_cases
import lists_cases
import machines_cases
import pytest
import runs_cases
import search_cases
import studies_cases
import weights_cases
import world
from forks import Fork, run_module

HERE = Path(__file__).parent
PAGE = HERE.parent / "BAD_INPUT.md"
QUIET = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
GROUPS = {
    "Flags": flags_cases.CASES,
    "Folders and lists": lists_cases.CASES,
    "Images": images_cases.CASES,
    "Benchmarks in their official layouts": layouts_cases.CASES,
    "Backbones": backbones_cases.CASES,
    "Weights": weights_cases.CASES,
    "Runs and embedders": runs_cases.CASES,
    "Several devices and machines": machines_cases.CASES,
    "Studies": studies_cases.CASES,
    "The client": client_cases.CASES,
    "Embedding many images": embed_cases.CASES,
    "Indexes": index_cases.CASES,
    "Searching by image": search_cases.CASES,
}
CASES = [case for cases in GROUPS.values() for case in cases]
# Also typed into a process of its own, to see that a fork is no different.
TYPED = "a program as weights"
WRITE = "WRITE_BAD_INPUT"  # environment variable: write the page, do not compare it

pytestmark = pytest.mark.slow


@pytest.fixture
def folder(tmp_path, painted):
    world.lay_out(tmp_path / "DIR", painted)
    return tmp_path / "DIR"


def tree(folder):
    """Everything in a folder, files by content."""
    return {
        str(path.relative_to(folder)): path.is_file() and path.read_bytes()
        for path in folder.rglob("*")
    }


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.what.replace(" ", "_"))
def test_bad_input(case, folder):
    case.make(folder)
    before = tree(folder)
    job = case.job()
    process = Fork(
        run_module,
        f"deml_tf.{job['module']}",
        *job["flags"],
        folder=folder,
        environment=QUIET | job["environment"],
    )
    errors = process.communicate()[1].replace(str(folder), "DIR")
    status = process.returncode
    assert errors == f"error: {case.message}\n"
    assert status == case.status
    after = tree(folder)
    changed = {
        path for path in before | after if before.get(path) != after.get(path)
    } | before.keys() ^ after.keys()
    assert changed <= case.leaves


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.what.replace(" ", "_"))
def test_message_is_one_sentence(case):
    assert case.message.endswith(".") and "\n" not in case.message
    assert not re.search(r"[.!?]\s+[A-Z]", case.message)
    # A problem, then its mend.
    assert re.search("[:;,] ", case.message)


def test_a_fork_is_no_different(folder):
    (case,) = (case for case in CASES if case.what == TYPED)
    case.make(folder)
    job = case.job()
    process = subprocess.run(
        [sys.executable, "-m", f"deml_tf.{job['module']}", *job["flags"]],
        cwd=folder,
        env=QUIET | job["environment"],
        capture_output=True,
        text=True,
    )
    errors = process.stderr.replace(str(folder), "DIR").splitlines()
    assert errors[-1] == f"error: {case.message}"
    # What TensorFlow says while it is imported comes before.
    assert not any("Traceback" in line or "error:" in line for line in errors[:-1])
    assert process.returncode == case.status


def test_the_page_shows_what_the_commands_say():
    text = page()
    if os.environ.get(WRITE):
        PAGE.write_text(text)
    assert PAGE.read_text() == text, "the page is old: make bad-input"


def page():
    """The page, of the statuses and messages that `test_bad_input` compares."""
    lines = [
        "# Bad input",
        "",
        f"What is said to {len(CASES)} kinds of wrong input, made by the test that "
        "checks it (`make bad-input`,",
        "tests/bad_input). Exit status 2 is for usage, 1 for data. Commands are typed "
        "after",
        "`python -m deml_tf.`, in a folder with these flags in `tiny.cfg` and eight "
        "classes of five images",
        "in `images`; `TINY` stands for `--flagfile=tiny.cfg`, and what stands "
        "before a command is a variable of",
        "the environment. None of them leaves a file behind, but for `bad_images.csv` "
        "in the run folder where",
        "images cannot be read.",
        "",
        *(f"    {line}" for line in world.TINY.splitlines()),
    ]
    for title, cases in GROUPS.items():
        lines += ["", f"## {title}", ""]
        lines += ["| what is wrong | command | exit | error |", "|---|---|---|---|"]
        for case in cases:
            typed, status = f"`{case.command}`", str(case.status)
            cells = (case.what, typed, status, case.message)
            lines.append("| " + " | ".join(c.replace("|", "\\|") for c in cells) + " |")
    return "\n".join(lines) + "\n"
