"""Tiny embedders and an export of one, made once for all tests of serving."""

import functools

import pytest
from small_backbone import build_tiny

from deml_tf.serving.expected import Trained
from tests.client.double_process import MODEL, exported_once


@functools.cache
def _built(arguments):
    return build_tiny(**dict(arguments))


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
def saved(tmp_path_factory):
    """A SavedModel, which is also the one that the double of a server loads."""
    return exported_once(tmp_path_factory) / MODEL / "1"
