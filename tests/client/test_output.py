"""The output file, in all formats."""

import numpy as np
import pytest
from pyarrow import parquet

from deml_tf.client import output
from deml_tf.client.answers import Answer, stack
from deml_tf.errors import UsageError
from tests.client.made_up import rows_of

ANSWERS = [
    Answer(np.array([0.6, 0.8], "float32"), np.full((3, 4), 0.1, "float32")),
    Answer(reason="cannot be read (gone)"),
    Answer(np.zeros(2, "float32"), np.zeros((3, 4), "float32"), "not an image"),
]
NAMES = ["a.jpg", "b\udcff.jpg", "ä c.png"]  # the second is no UTF-8


@pytest.mark.parametrize("suffix", [".npz", ".jsonl", ".parquet"])
def test_the_same_rows_in_all_formats(tmp_path, suffix):
    path = tmp_path / f"out{suffix}"
    output.check_file(path)
    output.write_embeddings(path, NAMES, stack(ANSWERS), 7)
    rows = rows_of(path)
    assert rows["path"] == ["a.jpg", "b\\xff.jpg", "ä c.png"]
    assert rows["version"] == [7] * 3
    assert rows["valid"] == [True, False, False]
    assert rows["reason"] == ["", "cannot be read (gone)", "not an image"]
    np.testing.assert_array_equal(
        np.array(rows["embedding"], "float32"),
        np.array([[0.6, 0.8], [0, 0], [0, 0]], "float32"),
    )
    boxes = np.array(rows["boxes"], "float32")
    assert boxes.shape == (3, 3, 4) and boxes[0, 0, 0] == np.float32(0.1)
    output.write_embeddings(path, NAMES[1:2], stack(ANSWERS[1:2]), 7)
    assert rows_of(path)["embedding"] == [[]]


def test_parquet_says_how_long_its_rows_are(tmp_path):
    output.write_embeddings(tmp_path / "x.parquet", NAMES, stack(ANSWERS), 7)
    schema = parquet.read_schema(tmp_path / "x.parquet")
    assert schema.field("embedding").type.list_size == 2
    assert schema.field("boxes").type.list_size == 3


def test_refuses_other_files(tmp_path):
    for name, sentence in (("x.csv", "end it in .npz or .jsonl"), ("d.npz", "folder")):
        (tmp_path / "d.npz").mkdir(exist_ok=True)
        with pytest.raises(UsageError, match=sentence):
            output.check_file(tmp_path / name)
    for name in ("x.jsonl", "x.parquet"):
        output.check_file(tmp_path / name)
