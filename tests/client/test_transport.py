"""Messages to and from a server."""

import numpy as np
import pytest
import tensorflow as tf

from deml_tf.client.failures import OtherVersionError, WrongAnswerError
from deml_tf.client.grpc_transport import array_of
from deml_tf.client.transport import check_version, checked


def test_messages_of_a_server():
    for array in (
        np.arange(24, dtype="float32").reshape(2, 3, 4),
        np.array([True, False]),
        np.zeros((0, 5), "float32"),
    ):
        np.testing.assert_array_equal(array_of(tf.make_tensor_proto(array), 24), array)


def test_values_left_out_are_the_last_one():
    short = tf.make_tensor_proto(np.zeros((2, 2), "float32"))
    short.ClearField("tensor_content")
    short.float_val.extend([1, 7])
    np.testing.assert_array_equal(array_of(short, 4), [[1, 7], [7, 7]])


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
    with pytest.raises(WrongAnswerError, match="INTERNAL: an output"):
        array_of(tensor, 4)


def good_arrays():
    return {
        "embedding": np.array([[0.6, 0.8, 0], [3, 4, 5]]),
        "valid": np.array([True, False]),
        "boxes": np.full((2, 1, 4), 0.5),
    }


def test_an_answer_has_a_row_for_each_image():
    found = checked(good_arrays(), 2)
    assert found.embedding.dtype == np.float32 and found.valid.dtype == bool
    assert found.valid.tolist() == [True, False] and found.sound.all()
    assert not found.embedding[1].any() and not found.boxes[1].any()
    for name, wrong in (
        ("valid", np.ones(1, bool)),
        ("boxes", np.array(3.0)),
        ("embedding", np.zeros(0)),
    ):
        with pytest.raises(WrongAnswerError, match="2 images were sent, rows came"):
            checked(good_arrays() | {name: wrong}, 2)
    with pytest.raises(WrongAnswerError, match="boxes 0"):
        checked({n: a for n, a in good_arrays().items() if n != "boxes"}, 2)


@pytest.mark.parametrize(
    "name, wrong",
    [
        ("embedding", np.zeros((2, 0))),
        ("embedding", np.zeros((2, 3, 1))),
        ("embedding", np.full((2, 3), "a")),
        ("valid", np.ones(2)),
        ("valid", np.ones((2, 1), bool)),
        ("boxes", np.zeros((2, 0, 4))),
        ("boxes", np.zeros((2, 1, 5))),
        ("boxes", np.zeros((2, 4))),
    ],
)
def test_outputs_of_other_shapes_or_types(name, wrong):
    with pytest.raises(WrongAnswerError, match="other shapes or types came: embedding"):
        checked(good_arrays() | {name: wrong}, 2)


@pytest.mark.parametrize("wrong", [np.nan, np.inf, 1e300, 2.0, 0.0])
@pytest.mark.parametrize("name", ["embedding", "boxes"])
def test_no_wrong_number_is_valid(name, wrong):
    arrays = good_arrays()
    arrays[name][0] = wrong
    within = name == "boxes" and wrong == 0
    assert checked(arrays, 2).sound.tolist() == [within, True]
    arrays["valid"][:] = False
    found = checked(arrays, 2)
    assert found.sound.all() and not found.embedding.any() and not found.boxes.any()


def test_the_version_that_answers():
    assert check_version(3, 3) == check_version(3, "3") == check_version(3, None) == 3
    assert check_version(None, "4") == 4 and check_version(None, None) is None
    with pytest.raises(OtherVersionError, match="version 4 answers for version 3"):
        check_version(3, 4)
    for wrong in ("", "x", "-1", "9" * 20, "\u0664", 4.0, [], {}):
        with pytest.raises(WrongAnswerError, match="no number"):
            check_version(None, wrong)
