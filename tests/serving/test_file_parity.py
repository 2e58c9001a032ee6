import numpy as np
import pytest

from deml_tf.errors import DataError
from deml_tf.serving import file_parity
from deml_tf.serving.file_parity import proof_squares, run_file
from deml_tf.serving.proof_images import drawn_images, proof_images
from deml_tf.serving.square_servable import SquareServable


def test_proof_squares_leave_broken_images_out(tiny):
    servable = SquareServable(tiny(scales=1, learners=1), (0,), (0,))
    squares = proof_squares(proof_images(drawn_images(2)), servable)
    assert squares.shape == (8, 48, 48, 3) and squares.dtype == np.float32
    assert 0 <= squares.min() < squares.max() <= 255
    with pytest.raises(DataError, match="can be read"):
        proof_squares([b"no image"], servable)


@pytest.mark.parametrize("form, runtime", file_parity.RUNTIMES.items())
def test_a_file_that_is_none(form, runtime, tmp_path):
    (tmp_path / "model").write_bytes(b"no model")
    squares = np.zeros((1, 8, 8, 3), np.float32)
    with pytest.raises(DataError, match=f"{runtime} does not run.*nothing was pub"):
        run_file(form, tmp_path / "model", squares, [[0]])


def test_the_process_must_know_nothing_else(tmp_path, monkeypatch):
    script = tmp_path / "knows.py"
    text = file_parity.FRESH_RUNTIME.read_text()
    text = text.replace(
        'if __name__ == "__main__":',
        'RUNTIMES["onnx"] = lambda path: lambda batch: {"embedding": batch}\n'
        'sys.modules["tensorflow"] = None\nif __name__ == "__main__":',
    )
    script.write_text(text)
    monkeypatch.setattr(file_parity, "FRESH_RUNTIME", script)
    squares = np.zeros((1, 8, 8, 3), np.float32)
    with pytest.raises(DataError, match=r"without \['tensorflow'\]"):
        run_file("onnx", tmp_path / "model", squares, [[0]])
    script.write_text(text.replace('sys.modules["tensorflow"] = None', ""))
    (found,) = run_file("onnx", tmp_path / "model", squares, [[0]])
    np.testing.assert_array_equal(found["embedding"], squares)
