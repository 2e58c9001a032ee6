import errno
import os
from pathlib import Path
from unittest import mock

import numpy as np
import pytest

from deml_tf.bulk import index_files, opened_shard
from deml_tf.bulk.listed_images import ListedImage
from deml_tf.bulk.served_export import Export
from deml_tf.bulk.shard_format import shard_name
from deml_tf.bulk.shard_plan import ShardPlan
from deml_tf.bulk.shard_writer import ShardWriter
from deml_tf.bulk.whole_shards import invalid_images, missing_shards
from deml_tf.errors import DataError

EXPORT = Export(Path("e"), "birds", 3, "5" * 64, "float32", 2, 1, None, {})
PLAN = ShardPlan(8, 3, 2)


def write(folder, number, export=EXPORT, plan=PLAN, bad=()):
    rows = plan.rows(number)
    shard = ShardWriter([ListedImage(f"/{n}", None) for n in rows], export)
    reasons = [f"bad {n}" if n in bad else "" for n in rows]
    shard.add(np.ones((len(rows), 2)), np.ones((len(rows), 4)), reasons)
    shard.write(folder / shard_name(number))


def missing(folder):
    return missing_shards(folder, range(PLAN.shards), PLAN, EXPORT.weights_sha256)


def test_what_is_missing(tmp_path):
    assert missing(tmp_path / "none") == [0, 1, 2]
    write(tmp_path, 1)
    assert missing(tmp_path) == [0, 2]
    write(tmp_path, 2)
    (tmp_path / ".shard_00000.parquet.0123abcd.tmp").mkdir()
    assert missing(tmp_path) == [0]


def test_shards_that_are_not_what_they_should_be(tmp_path):
    path = tmp_path / shard_name(0)
    path.write_bytes(b"PAR1 half")
    with pytest.raises(DataError, match=f"^{path} cannot be read .*: delete it"):
        missing(tmp_path)
    for wrong in (
        {"plan": ShardPlan(8, 4, 2)},
        {"export": EXPORT._replace(weights_sha256="6" * 64)},
    ):
        write(tmp_path, 0, **wrong)
        with pytest.raises(DataError, match=f"^{path} holds . images where 3 belong"):
            missing(tmp_path)


@pytest.mark.parametrize(
    "name", ["at-12:30", os.fsdecode(b"at \xff")], ids=["colon", "no UTF-8"]
)
def test_a_folder_that_pyarrow_would_not_find(tmp_path, monkeypatch, name):
    """A relative path that looks like an address, and one that is no UTF-8."""
    monkeypatch.chdir(tmp_path)
    os.mkdir(name)
    write(Path(name), 1, bad=(3,))
    assert missing(Path(name)) == [0, 2]
    assert [*invalid_images(Path(name), [1])] == [("/3", "bad 3")]


def test_images_that_are_not_valid(tmp_path):
    for number in range(3):
        write(tmp_path, number, bad=(1, 2, 7))
    found = [*invalid_images(tmp_path, [0, 1, 2])]
    assert found == [(f"/{n}", f"bad {n}") for n in (1, 2, 7)]
    assert [*invalid_images(tmp_path, [1])] == []


def test_what_the_system_refuses_to_read_is_not_to_be_deleted(tmp_path, monkeypatch):
    write(tmp_path, 0)
    refused = PermissionError(errno.EACCES, "Permission denied")
    for module in (opened_shard, index_files):
        opened = mock.Mock(side_effect=refused)
        monkeypatch.setattr(module, "open", opened, raising=False)
    path = tmp_path / shard_name(0)
    said = f"^{path} cannot be read .Permission denied.: see to it that it can be"
    with pytest.raises(DataError, match=said):
        missing(tmp_path)
    with pytest.raises(DataError, match=r"^index=i cannot be read .*: see to it that"):
        index_files.read_rows(path, "index=i")


def test_a_damaged_shard_is_named(tmp_path):
    write(tmp_path, 1, bad=(3,))
    path = tmp_path / shard_name(1)
    whole = path.read_bytes()
    said = f"^{path} cannot be read .*: delete it, and give the same embed command"
    footer = int.from_bytes(whole[-8:-4], "little") + 8
    path.write_bytes(b"PAR1".ljust(len(whole) - footer, b"\xff") + whole[-footer:])
    assert missing(tmp_path) == [0, 2]
    with pytest.raises(DataError, match=said):
        next(invalid_images(tmp_path, [1]))
    path.write_bytes(whole.replace(b"reason", b"r\xffason"))  # a column's name
    with pytest.raises(DataError, match=said):
        missing(tmp_path)
