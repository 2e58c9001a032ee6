"""Tiny data sets and commands, for tests of the whole."""

import os
import runpy
import sys
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from forks import ROOT, Fork
from PIL import Image
from rich import get_console

if "PYTEST_XDIST_WORKER" in os.environ:  # the workers share the cores already
    for name in ("TF_NUM_INTRAOP_THREADS", "OMP_NUM_THREADS"):
        os.environ.setdefault(name, "1")

for name in ("FORCE_COLOR", "TTY_COMPATIBLE"):  # rich takes a pipe for a terminal then
    os.environ.pop(name, None)

# Before any file of tests imports Keras. To import deml_tf for it would take seconds.
runpy.run_path(f"{ROOT}/deml_tf/kernels/onednn.py")["prefer_onednn"]()


def pytest_collection_modifyitems(items):
    """Files with the most slow tests come first: none is left alone at the end."""
    slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
    items.sort(key=lambda item: -slow[item.path])


def paint(folder, classes=8, images=5, side=56, seed=0):
    """An image folder: each class a colour of square on noise, at a random place."""
    random = np.random.default_rng(seed)
    for c in range(classes):
        place = Path(folder) / f"class {c:02d}"
        place.mkdir(parents=True)
        colour = random.integers(0, 256, 3)
        for n in range(images):
            image = random.integers(0, 120, (side, side, 3))
            y, x = random.integers(0, side // 2, 2)
            image[y : y + side // 2, x : x + side // 2] = colour
            Image.fromarray(image.astype("uint8")).save(place / f"{n}.png")
    return Path(folder)


@pytest.fixture
def bar_clock(monkeypatch):
    """The clock of all bars, whose seconds `now` a test moves on."""
    clock = SimpleNamespace(now=7.0)
    monkeypatch.setattr(get_console(), "get_time", lambda: clock.now)
    return clock


@pytest.fixture
def disk_calls(monkeypatch):
    """The order of "sync" and of the bytes of each file that takes another's name."""
    calls, sync, replace = [], os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda fd: (calls.append("sync"), sync(fd)))
    monkeypatch.setattr(
        os, "replace", lambda a, b: (calls.append(Path(a).read_bytes()), replace(a, b))
    )
    return calls


def seed():
    """What a test draws depends neither on the run nor on the tests before it."""
    if "keras" in sys.modules:
        sys.modules["keras"].utils.set_random_seed(0)


@pytest.hookimpl(tryfirst=True)
def pytest_fixture_setup(fixturedef):
    """What several tests share is the same whichever of them asks for it first."""
    if fixturedef.scope != "function":
        seed()


@pytest.fixture(autouse=True)
def seeded():
    seed()


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory):
    """The user's cache is never touched, nor by the commands that tests start."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DEML_TF_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def small_backbone():
    """The name of a backbone that costs little; no other test sees it."""
    from small_backbone import ARCHITECTURE, BACKBONES, NAME  # takes seconds

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(BACKBONES, NAME, ARCHITECTURE)
        yield NAME


@pytest.fixture(scope="session")
def painted(tmp_path_factory):
    return paint(tmp_path_factory.mktemp("painted") / "set")


@pytest.fixture(scope="session")
def tiny_flags(painted):
    """Flags of a training that takes seconds."""
    return [
        "--dataset=folder",
        f"--data_dir={painted}",
        "--validation_classes=0.5",
        "--backbone=small",
        "--weights=none",
        "--width=0.25",
        "--input_size=32",
        "--resize_size=40",
        "--output_stride=16",
        "--scales=2",
        "--learners=2",
        "--embedding_dim=32",
        "--decoupling=adversary",
        "--classes_per_batch=2",
        "--images_per_class=2",
        "--learning_rate=1e-3",
        "--steps=8",
        "--log_every=2",
        "--evaluate_every=4",
        "--checkpoint_every=3",
    ]


@pytest.fixture(scope="session")
def start():
    """Starts a command of the package in a process of its own."""
    from small_backbone import run_command  # takes seconds

    def begin(module, *flags):
        return Fork(run_command, f"deml_tf.{module}", *map(str, flags))

    return begin


@pytest.fixture(scope="session")
def command(start):
    """Runs a command to its end; gives its status, output and errors."""

    def run(module, *flags):
        process = start(module, *flags)
        output, errors = process.communicate()
        return process.returncode, output, errors

    return run


@pytest.fixture(scope="session")
def tiny():
    """Builds a tiny embedder; other arguments of `build_deml` win."""
    from small_backbone import build_tiny  # takes seconds

    return build_tiny
