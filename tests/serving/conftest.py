"""Tiny embedders and one export of one, made once for all tests of serving."""

import fcntl
import functools
import os
import shutil

import pytest

from deml_tf.models.embedder import build_deml
from deml_tf.serving.expected import Trained
from deml_tf.serving.servable import Servable
from tests.tiny import TINY


@functools.cache
def _built(arguments):
    return build_deml(**{**TINY, **dict(arguments)})


@pytest.fixture(scope="session")
def tiny():
    """A tiny embedder; other arguments of `build_deml` win.

    The same arguments give the same embedder: tests leave its weights as they are.
    """
    return lambda **arguments: _built(tuple(sorted(arguments.items())))


@functools.cache
def _trained(embedder, scales, learners):
    return Trained(embedder, scales, learners)


@pytest.fixture(scope="session")
def trained():
    """The numbers that an export is held to, traced once for each embedder."""
    return _trained


@pytest.fixture(scope="session")
def saved(tiny, tmp_path_factory):
    """A SavedModel of the whole DeML(2,2), made once for all workers."""
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    folder, half = shared / "saved", shared / "saved.half"
    with open(shared / "saved.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            shutil.rmtree(half, ignore_errors=True)
            Servable(tiny(scales=2, learners=2), (0, 1), (0, 1)).save(half)
            half.rename(folder)
    return folder
