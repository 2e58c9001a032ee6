"""Parameters of the kinds, and which kind is chosen."""

import faiss
import pytest

from deml_tf.bulk.hnsw import Hnsw
from deml_tf.bulk.ivfpq import IvfPq
from deml_tf.bulk.kinds import MOST_FLAT, MOST_HNSW, kind_for
from deml_tf.errors import UsageError


def test_the_kind_follows_from_the_number():
    numbers = (1, MOST_FLAT, MOST_FLAT + 1, MOST_HNSW, MOST_HNSW + 1)
    kinds = [kind_for(number) for number in numbers]
    assert kinds == ["flat", "flat", "hnsw", "hnsw", "ivfpq"]


def test_parameters_out_of_range_are_refused():
    for wrong, said in (
        (lambda: Hnsw(m=1), "m=1: it must be 2 to"),
        (lambda: Hnsw(ef_search=0), "ef_search=0: it must be 1 to"),
        (lambda: IvfPq(nprobe=0), "nprobe=0: it must be 1 to"),
        (lambda: IvfPq(m=9).check(8, 10_000), "m=9: give at most 8"),
        (lambda: IvfPq(nlist=300).check(8, 10_000), "nlist=300 .* at most 256"),
        (lambda: IvfPq().check(8, 9_983), "at least 9,984 .* here are 9,983"),
    ):
        with pytest.raises(UsageError, match=said):
            wrong()
    IvfPq(m=8, nlist=256).check(8, 9_984)


def test_defaults_of_ivfpq_are_those_of_faiss():
    def parts(dim, count):
        index = IvfPq().create(dim, count)
        lists = faiss.downcast_index(faiss.extract_index_ivf(index))
        return lists.d, lists.nlist, lists.pq.M

    assert parts(504, 1_000_000) == (504, 4000, 63)
    assert parts(500, 1_000_000) == (504, 4000, 63)  # zeros at the end
    assert parts(512, 200_000) == (512, 1788, 64)
    assert parts(16, 9_984) == (16, 256, 2)  # 39 vectors a list
