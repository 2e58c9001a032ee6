"""Types odd values at every flag of every command; each must end in one sentence.

Run it by hand: `python tests/cli/fuzz_flags.py --seconds=600 --seed=1`. Commands run up
to where their work begins; anything but success, a UsageError or a DataError is printed
with what was typed, and makes the exit status 1.
"""

import argparse
import contextlib
import importlib
import io
import math
import os
import random
import shlex
import sys
import tempfile
import time
import traceback
from pathlib import Path
from unittest import mock

from absl import flags

from deml_tf.cli import command
from deml_tf.cli.error_text import sentence
from deml_tf.cli.parsing import parse
from deml_tf.config import check
from deml_tf.errors import DataError, UsageError

FLAGS = flags.FLAGS
COMMANDS = (
    "train",
    "evaluate",
    "audit",
    "export",
    "embed",
    "compare",
    "study",
    "index",
    "launch",
    "data_service",
    "client.__main__",
    "search.__main__",
)
NUMBERS = ("0", "-1", "1", "2", "3.7", "-0.0", "1e400", "nan", "-inf", "1_0")
NUMBERS += ("0x1", "١", "9" * 400, "9" * 5000, "1" + "0" * 25, "4294967296", " 5", "+5")
LISTS = (",", "1,", "1,,2", "0,1", "1," + "1" + "0" * 30, "1,1", "-1,2", "1.5,2")
PATHS = ("/", ".", "..", "dir", "dir/", "file.txt", "file.txt/x", "link", "loop")
PATHS += ("pipe", "dangling", "~", "~/x", "~nobody/x", "dir/new/x.html", "x" * 300)
PATHS += (
    "/proc/self/mem",
    "/dev/fd/77",
    "list.csv",
    "run",
    "run/flags.cfg",
    "x.npz",
    "a/" * 3000,
)
TEXTS = ("", " ", "\0", "a\0b", "a\nb", "\x1b[31m", "caf\udce9", "[/b]", "=cmd", "%s")
TEXTS += ("{}", "\\", "'", '"', "--", "-", "true", "None", "é" * 200, "a=b", "\u2028")
ADDRESSES = ("host:1", "host", ":1", "host:", "host:99999", "host:٣", "[::1]:80")
ROUND = 20  # command lines typed at one command
VALUES = NUMBERS + LISTS + PATHS + TEXTS + ADDRESSES
WORDS = sorted({*VALUES} - {"/", ".."})  # a client would look for images in all


class WorkBegins(Exception):
    """What was typed was accepted."""


def accepted(*arguments, **named):
    raise WorkBegins


def of_training(configs, devices):
    """The checks that a training begins with."""
    from deml_tf.training.build import check_choices
    from deml_tf.training.start import (
        check_optimizer,
        check_schedule,
        check_validation,
    )
    from deml_tf.training.strategy import check_shares

    check_schedule(configs.train)
    check_optimizer(configs.train)
    check_validation(configs.data, configs.train)
    for config in (*configs, devices):
        check(config)
    sizes = configs.train.classes_per_batch, configs.train.images_per_class
    check_shares(devices.logical_cpus or 1, *sizes, configs.loss.pairs)
    check_choices(configs.model, configs.loss, configs.train)


WORK = {  # what would take long, or leave this machine
    "deml_tf.train.train": of_training,
    "deml_tf.evaluate.load_embedder": accepted,
    "deml_tf.audit.read_roles": accepted,
    "deml_tf.serving.source.load_embedder": accepted,
    "deml_tf.embed.read_export": accepted,
    "deml_tf.launch.run_workers": accepted,
    "deml_tf.study.StudyFile": accepted,
    "deml_tf.index.ShardReader": accepted,
    "deml_tf.index.change_index": accepted,
    "deml_tf.search.__main__.IndexReader": accepted,
    "deml_tf.search.__main__.listen": accepted,
    "deml_tf.data_service.check_service": accepted,
    "deml_tf.data_service.start": accepted,
    "deml_tf.client.__main__.receive": accepted,
    "deml_tf.client.connection.Client.check": accepted,
}


def lay_out(folder):
    """Makes the files that values name, and goes there."""
    os.chdir(folder)
    Path("dir").mkdir()
    Path("run").mkdir()
    Path("run/flags.cfg").write_text("--dataset=folder\n--data_dir=dir\n")
    Path("run/results.json").write_text("{}")
    Path("file.txt").write_text("--width=2\nword\n")
    Path("list.csv").write_text("path,label\n")
    os.symlink("file.txt", "link")
    os.symlink("loop", "loop")
    os.symlink("dir/none", "dangling")
    os.mkfifo("pipe")


def mutated(value, rng):
    """Something near a value."""
    text = str(value)
    at = rng.randrange(len(text) + 1)
    return rng.choice(
        (
            text,
            f"-{text}",
            text * 2,
            text.upper(),
            text[:at] + text[at + 1 :],
            text[:at] + rng.choice(VALUES) + text[at:],
            f"{text},{rng.choice(VALUES)}",
        )
    )


def typed(names, rng):
    """A command line of some flags, and some words."""
    argv = []
    for _ in range(rng.choice((1, 1, 1, 2, 3, 6))):
        name = rng.choice(names)
        flag = FLAGS[name]
        known = [*(getattr(flag.parser, "enum_values", None) or ()), flag.default]
        value = rng.choice((rng.choice(VALUES), mutated(rng.choice(known), rng)))
        value = rng.choice((value, value, value, mutated(value, rng)))
        form = rng.choice(("--{}={}",) * 8 + ("--{} {}", "-{}={}", "--no{}", "--{}"))
        if form == "--{} {}":
            argv += [f"--{name}", value]
        else:
            argv.append(form.format(name, value))
    if rng.random() < 0.3:
        argv.append(rng.choice(WORDS))
    if rng.random() < 0.05:
        argv.append(f"--flagfile={rng.choice(VALUES)}")
    return argv


def given(module):
    """Flags without which a command asks for nothing else."""
    return {
        "train": ["--dataset=folder", "--data_dir=dir", "--run_dir=new"],
        "evaluate": ["--embedder=file.txt", "--dataset=folder", "--data_dir=dir"],
        "audit": ["--dataset=folder", "--data_dir=dir"],
        "export": ["--embedder=file.txt"],
        "embed": ["--export=dir", "--images=dir", "--output=new"],
        "compare": ["run"],
        "study": ["--study_dir=new", "--dataset=folder", "--data_dir=dir"]
        + ["--variant=a: --scales=1", "--variant=b"],
        "index": ["--embeddings=dir", "--output=new"],
        "search.__main__": ["--index=dir", "--image=file.txt", "--export=dir"],
        "launch": ["--", "--dataset=folder", "--data_dir=dir", "--run_dir=new"],
        "client.__main__": ["--server=a:1", "--model=m", "--output=x.npz", "file.txt"],
    }.get(module, [])


@contextlib.contextmanager
def flags_of(module):
    """Defines the flags of one command, and nothing of it afterwards."""
    before = set(FLAGS)
    try:
        with (
            mock.patch.object(command, "run"),
            mock.patch.object(module, "run", create=True),
        ):
            module.cli()
        yield sorted(set(FLAGS) - before)
    finally:
        FLAGS.unparse_flags()
        FLAGS.remove_flag_values(list(set(FLAGS) - before))
        FLAGS.set_gnu_getopt(False)


def attempt(module, argv):
    """Runs a command up to its work; gives what is wrong with how it ended, or None."""
    try:
        words = parse(FLAGS, ["command", *argv])
        module.main(words[1:])
    except (UsageError, DataError) as error:
        said = sentence(error, FLAGS)
        return None if said.endswith(".") and len(said) > 10 else f"said {said!r}"
    except WorkBegins:
        return None
    except BaseException:
        return traceback.format_exc(limit=-4)
    return None


def fuzz(seed, seconds=math.inf, rounds=math.inf, say=print):
    """Types until the time is over, in rounds; gives the attempts and the failures."""
    rng, tried, wrong = random.Random(seed), 0, 0
    ends = time.monotonic() + seconds
    with contextlib.ExitStack() as stack:
        lay_out(stack.enter_context(tempfile.TemporaryDirectory()))
        before = sorted(Path().rglob("*"))
        for name, instead in WORK.items():
            stack.enter_context(mock.patch(name, instead))
        while time.monotonic() < ends and tried < rounds * ROUND:
            name = rng.choice(COMMANDS)
            module = importlib.import_module(f"deml_tf.{name}")
            with flags_of(module) as names:
                for _ in range(ROUND):
                    argv = [*typed(names, rng), *given(name)[: rng.choice((0, 9, 9))]]
                    rng.shuffle(argv) if rng.random() < 0.1 else None
                    with contextlib.redirect_stdout(io.StringIO()):
                        failure = attempt(module, argv)
                    for flag in FLAGS:
                        FLAGS[flag].unparse()
                    tried += 1
                    if sorted(Path().rglob("*")) != before:
                        failure = f"left {set(Path().rglob('*')) - set(before)}"
                        before = sorted(Path().rglob("*"))
                    if failure:
                        wrong += 1
                        shown = [a if len(a) < 200 else f"{a[:99]}..." for a in argv]
                        say(f"{name} {shlex.join(shown)!a}\n{failure}")
    return tried, wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    tried, wrong = fuzz(asked.seed, asked.seconds)
    print(f"{tried} command lines, {wrong} failures")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
