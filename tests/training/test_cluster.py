"""TF_CONFIG, strategies and batches that fit them."""

import json
from pathlib import Path

import pytest
import tensorflow as tf

from deml_tf.errors import DataError, UsageError
from deml_tf.training.cluster import Cluster, read_cluster
from deml_tf.training.strategy import build_strategy, check_shares
from deml_tf.training.worker_processes import free_addresses
from deml_tf.training.workers import Workers

TWO = Cluster(("a:1", "b:2"), 1)


def variable(cluster, kind="worker", index=0):
    config = {"cluster": cluster, "task": {"type": kind, "index": index}}
    return {"TF_CONFIG": json.dumps(config)}


def test_no_cluster_is_one_worker():
    for environment in ({}, {"TF_CONFIG": ""}, {"TF_CONFIG": "{}"}):
        cluster = read_cluster(environment)
        assert cluster.size == 1 and cluster.is_chief


def test_ranks_count_the_chief_first():
    jobs = {"chief": ["a:1"], "worker": ["b:2", "c:3"]}
    assert read_cluster(variable(jobs, "chief")) == Cluster(("a:1", "b:2", "c:3"), 0)
    assert read_cluster(variable(jobs, "worker", 1)).rank == 2
    workers = {"worker": ["a:1", "b:2"]}
    assert read_cluster(variable(workers)).is_chief
    assert not read_cluster(variable(workers, index=1)).is_chief


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"TF_CONFIG": "{"}, r"is no JSON \(.*\): write it as"),
        ({"TF_CONFIG": "[]"}, "has no cluster: write it as"),
        ({"TF_CONFIG": '{"cluster": {}}'}, "has no task: write it as"),
        ({"TF_CONFIG": '{"cluster": {}, "task": {"index": 0}}'}, "without type"),
        (variable({"worker": "a:1"}), "gives 'worker' no list"),
        (variable({"worker": ["a:1"]}, index=0.5), "the index 0.5"),
        (variable({"worker": ["a:1"]}, index=True), "the index True"),
        (variable({}), "0 chiefs and 0 workers"),
        (variable({"chief": ["a:1", "b:1"]}), "2 chiefs"),
        (variable({"worker": ["a:1"], "ps": ["b:1"]}), "the job 'ps'"),
        (variable({"worker": ["a:1", "a:1"]}), "a:1 twice"),
        (variable({"worker": ["a"]}), "write HOST:PORT"),
        (variable({"worker": ["a:99999"]}), "write HOST:PORT"),
        (variable({"worker": ["a:1", "b:1"]}, index=2), "worker 2"),
        (variable({"worker": ["a:1"]}, "chief"), "chief 0"),
    ],
)
def test_wrong_clusters_are_named(environment, words):
    with pytest.raises(UsageError, match=words):
        read_cluster(environment)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"kind": "tpu"}, "use one of auto, one, mirrored, multiworker"),
        ({"kind": "mirrored"}, "finds no GPU"),
        ({"kind": "one", "logical_cpus": 2}, "not for strategy=one"),
        ({"kind": "multiworker"}, "two workers or more"),
        ({"kind": "one", "cluster": TWO}, "for one machine"),
        ({"kind": "mirrored", "logical_cpus": 2, "cluster": TWO}, "for one machine"),
    ],
)
def test_strategies_that_cannot_be(arguments, words):
    with pytest.raises(UsageError, match=words):
        build_strategy(**arguments)


def test_batches_must_be_shared_evenly():
    check_shares(4, 2, 2, "global")
    check_shares(4, 4, 2, "replica")
    with pytest.raises(UsageError, match="classes_per_batch a multiple of 4"):
        check_shares(4, 3, 2, "global")
    with pytest.raises(UsageError, match="tear classes apart"):
        check_shares(4, 2, 2, "replica")


def test_a_worker_alone_is_the_writer():
    workers = Workers()
    assert workers.is_writer and workers.replicas == 1 and workers.agree(7) == 7
    assert not Workers(TWO).is_writer


def test_who_leaves_first_is_not_taken_for_lost(monkeypatch):
    lost = tf.errors.UnavailableError(None, None, "Collective ops is aborted by: ...")
    met = []

    def meet(workers, value):
        met.append(value)
        if len(met) == fails_at:
            raise lost
        return value

    monkeypatch.setattr(Workers, "_sum", meet)
    fails_at = 2  # all were there, and the other has gone since
    Workers(TWO).leave()
    assert len(met) == 2
    fails_at, met = 1, []  # the other is gone, and the writer not done
    with pytest.raises(tf.errors.UnavailableError):
        Workers(TWO).leave()


def test_a_lost_worker_is_a_sentence():
    lost = tf.errors.UnavailableError(None, None, "Collective ops is aborted by: ...")
    with pytest.raises(DataError, match="goes on from the last checkpoint"):
        with Workers(TWO).lost_one_explained():
            raise lost
    with pytest.raises(tf.errors.UnavailableError), Workers().lost_one_explained():
        raise lost
    other = tf.errors.InternalError(None, None, "out of luck")
    with pytest.raises(tf.errors.InternalError), Workers(TWO).lost_one_explained():
        raise other


def test_free_addresses_are_not_those_of_connections():
    given = Path("/proc/sys/net/ipv4/ip_local_port_range")
    first = int(given.read_text().split()[0]) if given.exists() else 0
    if first < 2**14:
        pytest.skip("few ports or none are below those of connections")
    ports = [int(address.rpartition(":")[2]) for address in free_addresses(50)]
    assert len(set(ports)) == 50
    assert min(ports) < first  # one that is taken is replaced by any
