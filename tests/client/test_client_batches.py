"""Batches: cut, sent, and sent one by one."""

import functools

import pytest

from deml_tf.client.batches import ask, batches
from deml_tf.client.files import ImageFile
from deml_tf.client.retries import Patience
from tests.client.made_up import Server, held


def predicting(server):
    return functools.partial(server.predict, 1)


def test_batches_keep_both_limits():
    assert list(batches([], 4)) == []
    assert list(batches([1] * 10, 4)) == [range(0, 4), range(4, 8), range(8, 10)]
    sizes = [5, 5, 5, 30, 1, 1, 9, 2]
    found = list(batches(sizes, 3, most_bytes=10))
    assert found == [
        range(0, 2),
        range(2, 3),
        range(3, 4),
        range(4, 6),
        range(6, 7),
    ] + [range(7, 8)]


def test_one_bad_image_does_not_take_its_neighbours_along():
    server = Server()
    contents = [b"a", b"b", b"!", b"?", b"c"]
    found, error = ask(predicting(server), held(contents), Patience(7, 3))
    assert error is None
    answers = dict(found)
    assert [answers[n].reason for n in (0, 1, 3, 4)] == ["", "", "not an image", ""]
    assert answers[2].reason == "refused by the server (INVALID_ARGUMENT: spoilt)"
    assert answers[1].embedding.tolist() == [98.0] * 3
    assert server.asked == [
        contents,
        *([c] for c in contents[:3]),
        [b"!"],
        [b"?"],
        [b"c"],
    ]


def test_another_clients_bad_request_is_outlived():
    server = Server(spoilt=2)
    found, error = ask(predicting(server), held([b"!"]), Patience(7, 3))
    assert error is None and found[0][1].valid
    assert len(server.asked) == 3


@pytest.mark.parametrize("code", ["NOT_FOUND", "FAILED_PRECONDITION", "UNAVAILABLE"])
def test_what_concerns_all_is_not_asked_one_by_one(code):
    server = Server(code)
    found, error = ask(predicting(server), held([b"a", b"!"]), Patience(7, 0))
    assert found == [] and error.code == code and len(server.asked) == 1


def test_files_that_cannot_be_read():
    def refuse():
        raise PermissionError(13, "Permission denied")

    items = held([b"a", b"b"]) | {2: ImageFile(1, refuse)}
    server = Server()
    answers = dict(ask(predicting(server), items, Patience(7, 0))[0])
    assert answers[2].reason == "cannot be read (Permission denied)"
    assert answers[0].valid and server.asked == [[b"a", b"b"]]
    assert ask(predicting(server), {0: ImageFile(1, refuse)}, Patience(7, 0))[1] is None
    assert len(server.asked) == 1
