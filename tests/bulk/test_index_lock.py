"""Two processes that change an index: the second is told, and nothing is lost."""

import errno
import fcntl
import os
import shutil

import pytest
from made_shards import clusters, paths_of, write_shards

from deml_tf.bulk.index_builder import build_index
from deml_tf.bulk.index_change import change_index
from deml_tf.bulk.index_reader import IndexReader
from deml_tf.bulk.shard_reader import ShardReader
from deml_tf.errors import DataError, UsageError

ROWS = clusters(40, 8)
BUSY = r"index is being changed by another process: wait for it to end, and give"


@pytest.fixture
def index(tmp_path):
    """An index of 40 images, and the embeddings it is built of."""
    made = ShardReader(write_shards(tmp_path / "made", ROWS))
    build_index(made, tmp_path / "index", "flat")
    return tmp_path / "index", made


def test_who_comes_second_is_told(index, tmp_path):
    folder, made = index
    other = os.open(folder, os.O_RDONLY)
    fcntl.flock(other, fcntl.LOCK_EX)
    for change in (
        lambda: change_index(folder, removed=paths_of(1)),
        lambda: build_index(made, folder, "flat"),
    ):
        with pytest.raises(UsageError, match=BUSY):
            change()
    assert IndexReader(folder).description.count == 40  # readers are let in
    os.close(other)
    assert change_index(folder, removed=paths_of(1)).count == 39
    assert build_index(made, folder, "flat").count == 40


def test_who_opened_what_was_then_replaced_is_told(index, tmp_path, monkeypatch):
    """Else it would take the other's change away again."""
    folder, _ = index
    real = fcntl.flock

    def late(handle, how):
        shutil.copytree(folder, tmp_path / "new")
        folder.rename(tmp_path / "old")
        (tmp_path / "new").rename(folder)
        real(handle, how)

    monkeypatch.setattr(fcntl, "flock", late)
    with pytest.raises(UsageError, match=BUSY):
        change_index(folder, removed=paths_of(1))
    monkeypatch.undo()
    assert change_index(folder, removed=paths_of(1)).count == 39


def test_a_disk_without_locks_is_named(index, monkeypatch):
    folder, _ = index

    def refused(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refused)
    said = rf"the disk of {folder} has no locks \(No locks"
    with pytest.raises(DataError, match=said):
        change_index(folder, removed=paths_of(1))
