import numpy as np

from deml_tf.search import asked_queries
from deml_tf.search.asked_queries import AskedQueries, AskedQuery
from deml_tf.search.query import Query


def asked(number):
    return AskedQuery(Query(np.full(3, number), np.zeros((1, 4))), None)


def test_the_query_that_was_not_asked_for_longest_goes(monkeypatch):
    monkeypatch.setattr(asked_queries, "_MOST", 3)
    kept = AskedQueries()
    names = [kept.add(asked(n)) for n in range(3)]
    assert len(set(names)) == 3 and min(map(len, names)) >= 20
    assert kept.get(names[0]).query.embedding[0] == 0
    kept.add(asked(3))
    assert kept.get(names[1]) is None and kept.get("") is None
    assert kept.get(names[0]) and kept.get(names[2])
