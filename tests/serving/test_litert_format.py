import numpy as np
import pytest

from deml_tf.data.example import Example
from deml_tf.errors import DataError
from deml_tf.models.embedder import geometry_of
from deml_tf.serving.file_parity import hold_file_to_parity
from deml_tf.serving.fresh_runtime import litert
from deml_tf.serving.int8_loss import measure
from deml_tf.serving.litert_format import FILE, INT8_FILE, write_litert
from deml_tf.serving.parity import require
from deml_tf.serving.square_servable import SquareServable


@pytest.fixture(scope="module")
def squares():
    return np.random.default_rng(0).uniform(0, 255, (4, 48, 48, 3)).astype("float32")


@pytest.mark.slow
def test_computes_what_was_trained(tiny, squares, painted, tmp_path):
    embedder = tiny(scales=2, learners=2)
    kept = {"scales": (0, 1), "learners": (1,)}
    servable = SquareServable(embedder, **kept)
    write_litert(servable, tmp_path, int8=True)
    path = tmp_path / FILE
    differences = hold_file_to_parity("litert", path, embedder, squares, **kept)
    assert {d.batch_size for d in differences} == {1, 3, 32}
    assert {d.output for d in differences} == {"embedding", "boxes"}
    require(differences)

    rounded = litert(tmp_path / INT8_FILE)
    together = rounded(squares)["embedding"]
    np.testing.assert_array_equal(together[1:2], rounded(squares[1:2])["embedding"])
    assert (tmp_path / INT8_FILE).stat().st_size < 0.6 * path.stat().st_size

    files = sorted(painted.rglob("*.png"))[:15]
    examples = [Example(str(f), f.parent.name) for f in files]
    found = measure(
        path, tmp_path / INT8_FILE, squares, examples, geometry_of(embedder), 0.1
    )
    assert found["images"] == 15 and found["classes"] == 3
    assert 0.9 < found["smallest_cosine"] < 1 - 1e-7
    assert found["recall_at_1"].keys() == {"float32", "int8"}
    assert found["threshold"]["images"] == 15
    without = measure(
        path, tmp_path / INT8_FILE, squares, [], geometry_of(embedder), 0.1
    )
    assert without.keys() == {"smallest_cosine"}


@pytest.mark.slow
def test_says_what_litert_lacks(tiny, tmp_path, monkeypatch):
    import tensorflow as tf

    def lacking(self, images):
        diagonal = tf.linalg.diag_part(images[:, :, :, 0])
        return {"embedding": diagonal, "boxes": diagonal}

    monkeypatch.setattr(SquareServable, "from_squares", lacking)
    servable = SquareServable(tiny(scales=1, learners=1), (0,), (0,))
    with pytest.raises(DataError, match="Select ops: MatrixDiagPartV3.*--format=onnx"):
        write_litert(servable, tmp_path)
    assert not list(tmp_path.iterdir())
