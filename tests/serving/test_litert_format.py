import numpy as np
import pytest
import tensorflow as tf

from deml_tf.data.example import Example
from deml_tf.errors import DataError
from deml_tf.models.embedder import geometry_of
from deml_tf.serving.differences import require
from deml_tf.serving.fresh_process import litert
from deml_tf.serving.int8_loss import measure
from deml_tf.serving.litert_format import FILE, INT8_FILE, write_litert
from deml_tf.serving.parity import BOUNDS, hold_to_parity
from deml_tf.serving.proof_images import drawn_images
from deml_tf.serving.square_servable import SIGNATURE, SquareServable
from deml_tf.serving.trial import trial_of_squares


@pytest.mark.slow
def test_computes_what_was_trained(tiny, trained, painted, tmp_path):
    embedder = tiny(backbone="efficientnet_lite0", scales=1, learners=2)
    kept = (0,), (1,)  # two scales: test_parity_table.py
    write_litert(SquareServable(embedder, *kept), tmp_path, int8=True)
    path = tmp_path / FILE
    trial = trial_of_squares(trained(embedder, *kept), drawn_images(4))
    differences = hold_to_parity(path, ["LiteRT"], trial, BOUNDS["float32"])
    assert {d.batch_size for d in differences} == {1, 3, 32}
    assert {d.output for d in differences} == {"embedding", "boxes"}
    require(differences)

    squares = trial.inputs[SIGNATURE]
    rounded = litert(tmp_path / INT8_FILE)
    together = rounded(SIGNATURE, squares)["embedding"]
    alone = rounded(SIGNATURE, squares[1:2])["embedding"]
    np.testing.assert_array_equal(together[1:2], alone)
    assert (tmp_path / INT8_FILE).stat().st_size < 0.6 * path.stat().st_size

    files = sorted(painted.rglob("*.png"))[:15]
    examples = [Example(str(f), f.parent.name) for f in files]
    paths, geometry = (path, tmp_path / INT8_FILE), geometry_of(embedder)
    found = measure(paths, squares, examples, geometry, 0.1)
    assert found["images"] == 15 and found["classes"] == 3
    assert 0.9 < found["smallest_cosine"] < 1 - 1e-7
    assert found["recall_at_1"].keys() == {"float32", "int8"}
    assert found["threshold"]["images"] == 15
    without = measure(paths, squares, [], geometry, 0.1)
    assert without.keys() == {"smallest_cosine"}


def test_says_what_litert_lacks(tiny, tmp_path, monkeypatch):
    def lacking(self, images):
        diagonal = tf.linalg.diag_part(images[:, :, :, 0])
        return {"embedding": diagonal, "boxes": diagonal}

    monkeypatch.setattr(SquareServable, "from_squares", lacking)
    servable = SquareServable(tiny(scales=1, learners=1), (0,), (0,))
    with pytest.raises(DataError, match="Select ops: MatrixDiagPartV3.*format=onnx"):
        write_litert(servable, tmp_path)
    assert not list(tmp_path.iterdir())
