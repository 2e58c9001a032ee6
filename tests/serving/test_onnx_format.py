import numpy as np
import onnx
import pytest
import tensorflow as tf

from deml_tf.serving.differences import require
from deml_tf.serving.fresh_process import onnx as runtime
from deml_tf.serving.onnx_format import FILE, write_onnx
from deml_tf.serving.parity import BOUNDS, hold_to_parity
from deml_tf.serving.proof_images import drawn_images
from deml_tf.serving.square_servable import SIGNATURE, SquareServable
from deml_tf.serving.trial import trial_of_squares


@pytest.mark.slow
def test_computes_what_was_trained(tiny, trained, tmp_path):
    embedder = tiny(backbone="efficientnet_lite0", scales=1, learners=2)
    kept = (0,), (1,)  # two scales: test_parity_table.py
    path = tmp_path / FILE
    write_onnx(SquareServable(embedder, *kept), path)
    trial = trial_of_squares(trained(embedder, *kept), drawn_images(4))
    differences = hold_to_parity(path, ["onnxruntime"], trial, BOUNDS["float32"])
    assert {d.batch_size for d in differences} == {1, 3, 32}
    assert {d.output for d in differences} == {"embedding", "boxes"}
    require(differences)
    graph = onnx.load(path).graph
    values = [*graph.input, *graph.output]
    assert {value.name for value in values} == {"images", "embedding", "boxes"}
    sides = {v.name: v.type.tensor_type.shape.dim for v in values}
    assert {dim[0].dim_param for dim in sides.values()} == {"batch"}
    assert [d.dim_value for d in sides["images"]][1:] == [48, 48, 3]


@pytest.mark.parametrize("kind", ["int32", "float32"])
def test_segments(kind, tiny, tmp_path, monkeypatch):
    places = np.array([3, 0, 3, 5, 0, 3], np.int32)

    def largest_and_sum(self, images):
        numbers = tf.cast(images[0, 0, :6, 0] - 9.0, kind)
        results = {
            name: tf.cast(function(numbers, places, 7), tf.float32)[None]
            for name, function in (
                ("embedding", tf.math.unsorted_segment_max),
                ("boxes", tf.math.unsorted_segment_sum),
            )
        }
        return results

    monkeypatch.setattr(SquareServable, "from_squares", largest_and_sum)
    servable = SquareServable(tiny(scales=1, learners=1), (0,), (0,))
    write_onnx(servable, tmp_path / FILE)
    images = np.zeros((1, 48, 48, 3), np.float32)
    images[0, 0, :6, 0] = [1, 2, 30, 4, 5, 6]
    found = runtime(tmp_path / FILE)(SIGNATURE, images)
    low = np.float32(np.iinfo(kind).min if kind == "int32" else np.finfo(kind).min)
    np.testing.assert_array_equal(
        found["embedding"], [[-4, low, low, 21, low, -5, low]]
    )
    np.testing.assert_array_equal(found["boxes"], [[-11, 0, 0, 10, 0, -5, 0]])
