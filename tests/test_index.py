"""The command `index` from its flags to the folder."""

import json
import os
import sys
from pathlib import Path

import pytest

from deml_tf.bulk.index_reader import IndexReader
from deml_tf.errors import DataError, UsageError
from deml_tf.index import read_list

sys.path.append(str(Path(__file__).parent / "bulk"))

from made_shards import clusters, paths_of, write_shards  # noqa: E402


def test_an_index_is_built_and_changed(tmp_path, command):
    rows = clusters(60, 8)
    made = write_shards(tmp_path / "made", rows, sizes=[40, 20], invalid=(7,))
    more = write_shards(tmp_path / "more", -rows[:10], name="new")
    index = tmp_path / "index"
    status, output, errors = command(
        "index", f"--embeddings={made}", f"--output={index}"
    )
    assert (status, errors) == (0, "")
    assert "An index of kind flat: about 0.15 GB of memory, of" in output
    assert f"indexing: 59/59\n{index}: 59 images, flat, in " in output
    gone = tmp_path / "gone.txt"
    gone.write_text("\n".join(paths_of(60)[:7]))
    flags = (f"--output={index}", f"--add={more}", f"--remove={gone}")
    status, output, errors = command("index", *flags)
    assert (status, errors) == (0, "")
    assert f"{index}: 62 images, flat, in " in output
    reader = IndexReader(index)
    _, found = reader.search(-rows[:1], 1)
    assert found.paths[0, 0] == paths_of(10, "new")[0]
    status, output, errors = command(
        "index",
        f"--embeddings={made}",
        f"--output={index}",
        "--kind=hnsw",
        "--hnsw_m=5",
        "--hnsw_ef_search=9",
    )
    assert (status, errors) == (0, "")
    described = json.loads((index / "index.json").read_text())
    assert described["kind"] == "hnsw" and described["count"] == 59
    assert described["settings"] == {"m": 5, "ef_construction": 200, "ef_search": 9}


def test_a_list_of_paths_is_read(tmp_path):
    listed = tmp_path / "list.txt"
    listed.write_bytes(b"/a b.jpg\r\n\n/caf\xe9.jpg\n /c.jpg\n/d\xc3\xa9.jpg")
    expected = ["/a b.jpg", "/caf\\xe9.jpg", " /c.jpg", "/dé.jpg"]
    assert read_list(str(listed)) == expected
    listed.write_bytes(b"\xef\xbb\xbf" + listed.read_bytes())  # as Windows writes it
    assert read_list(str(listed)) == expected
    listed.write_text("\n\r\n")
    with pytest.raises(DataError, match="is empty: write one path a line"):
        read_list(str(listed))
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UsageError, match="cannot be read .it is a pipe, not a file"):
        read_list(str(tmp_path / "pipe"))
