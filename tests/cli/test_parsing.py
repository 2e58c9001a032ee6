"""Sentences about the command line; tests/bad_input types whole commands."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from absl import flags

from deml_tf.cli import parsing
from deml_tf.cli.parsing import parse
from deml_tf.errors import UsageError


@pytest.fixture
def values():
    values = flags.FlagValues()
    flags.DEFINE_integer("width", 1, "", flag_values=values)
    flags.DEFINE_enum("fit", "pad", ["pad", "squash"], "", flag_values=values)
    flags.DEFINE_bool("fast", True, "", flag_values=values)
    return values


@pytest.mark.parametrize(
    "given, words",
    [
        (["--widht=3"], r"^--widht=3 is no flag .* did you mean --width,"),
        (["--zzz"], r"^--zzz is no flag of this command: see --help for all\.$"),
        (["--width=a: b"], r"^--width=a: b: give a whole number\.$"),
        (["--fit=cut"], r"^--fit=cut: give pad or squash\.$"),
        (["--fast=so"], r"^--fast=so: give true or false\.$"),
        (["--nofast=1"], r"^--nofast=1 takes no value: write --nofast\.$"),
        (["--width"], r"^--width has no value: write --width=VALUE\.$"),
        (["--flagfile"], r"^--flagfile has no value"),
        (["--flagfile=/none"], r"^--flagfile=/none cannot be read \(No such file"),
    ],
)
def test_wrong_flags(given, words, values):
    with pytest.raises(UsageError, match=words):
        parse(values, ["train", *given])


@pytest.mark.parametrize("joined", [True, False])
def test_flagfiles_are_followed(joined, values, tmp_path):
    outer, inner = tmp_path / "outer.cfg", tmp_path / "inner.cfg"
    outer.write_text(f"# both\n\n--flagfile={inner}\n--width=3\n")
    inner.write_text("--fit=squash\n")
    given = [f"--flagfile={outer}"] if joined else ["--flagfile", str(outer)]
    assert parse(values, ["train", *given, "word"]) == ["train", "word"]
    assert (values.width, values.fit) == (3, "squash")
    inner.write_text("--fit=squash\nfast\n")
    with pytest.raises(UsageError, match="inner.cfg, line 2, is 'fast'"):
        parse(values, ["train", *given])
    inner.write_text(f"--flagfile={outer}\n")
    with pytest.raises(UsageError, match="includes itself"):
        parse(values, ["train", *given])


def test_a_flagfile_with_letters_that_the_locale_lacks(tmp_path):
    outer, inner = tmp_path / "outer.cfg", tmp_path / "inner.cfg"
    outer.write_text(f"--flagfile={inner}\n")
    inner.write_text("--name=\u00e9\n", encoding="utf-8")
    code = (
        "import sys, types\n"
        "sys.modules['deml_tf'] = package = types.ModuleType('deml_tf')\n"
        "package.__path__ = [sys.argv[1]]\n"  # without TensorFlow
        "from absl import flags\n"
        "from deml_tf.cli.parsing import parse\n"
        "parse(flags.FlagValues(), ['train', sys.argv[2]])\n"
    )
    package = Path(parsing.__file__).parents[1]
    ascii_alone = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    ascii_alone["PYTHON_COLORS"] = "0"
    ended = subprocess.run(
        [sys.executable, "-c", code, package, f"--flagfile={outer}"],
        env=os.environ | ascii_alone,
        capture_output=True,
        text=True,
    )
    assert ended.stderr.endswith(
        f"UsageError: --flagfile={inner} has letters that the locale's encoding, ascii,"
        " lacks: set PYTHONUTF8=1.\n"
    )
