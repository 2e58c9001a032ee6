"""Messages to and from a server."""

import numpy as np
import pytest
import tensorflow as tf

from deml_tf.client.failures import ServerError
from deml_tf.client.grpc_transport import array_of
from deml_tf.client.transport import checked


def test_messages_of_a_server():
    for array in (
        np.arange(24, dtype="float32").reshape(2, 3, 4),
        np.array([True, False]),
        np.zeros((0, 5), "float32"),
    ):
        np.testing.assert_array_equal(array_of(tf.make_tensor_proto(array)), array)


def test_values_left_out_are_the_last_one():
    short = tf.make_tensor_proto(np.zeros((2, 2), "float32"))
    short.ClearField("tensor_content")
    short.float_val.extend([1, 7])
    np.testing.assert_array_equal(array_of(short), [[1, 7], [7, 7]])


def damaged(array, **fields):
    tensor = tf.make_tensor_proto(array)
    for name, value in fields.items():
        tensor.ClearField(name)
        if isinstance(value, list):
            getattr(tensor, name).extend(value)
        else:
            setattr(tensor, name, value)
    return tensor


@pytest.mark.parametrize(
    "tensor",
    [
        tf.make_tensor_proto([1]),
        tf.make_tensor_proto([b"a"]),
        damaged(np.zeros(2, "float32"), dtype=99),
        damaged(np.zeros(2, "float32"), dtype=0),
        damaged(np.zeros((2, 2), "float32"), tensor_content=b"", float_val=[1.0] * 5),
        damaged(np.zeros((2, 2), "float32"), tensor_content=b"123"),
        damaged(np.zeros((2, 2), "float32"), tensor_content=b"1234"),
        damaged(np.zeros((2, 2), "float32"), tensor_content=b""),
    ],
)
def test_bad_messages(tensor):
    with pytest.raises(ServerError, match="INTERNAL: an output"):
        array_of(tensor)


def test_an_answer_has_a_row_for_each_image():
    good = {
        "embedding": np.zeros((2, 3), "float64"),
        "valid": [True, False],
        "boxes": np.zeros((2, 1, 4)),
    }
    found = checked(good, 2)
    assert found.embedding.dtype == np.float32 and found.valid.dtype == bool
    for wrong in ({"valid": [True]}, {"boxes": 3.0}, {"embedding": []}):
        with pytest.raises(ServerError, match="2 images were sent, rows came"):
            checked(good | wrong, 2)
    del good["boxes"]
    with pytest.raises(ServerError, match="boxes 0"):
        checked(good, 2)
