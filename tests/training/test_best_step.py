"""The choice of the best step, across SIGTERM as well."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from small_backbone import build_tiny

from deml_tf.cli import termination
from deml_tf.config import DataConfig, TrainConfig
from deml_tf.data.example import Example
from deml_tf.data.selection import read_split
from deml_tf.models.embedder import core_of
from deml_tf.runs.folder import RunFolder
from deml_tf.training import best_step
from deml_tf.training.best_step import ChooseBestStep
from deml_tf.training.cluster import Cluster
from deml_tf.training.final_scores import training_facts
from deml_tf.training.workers import Workers

TRAIN = TrainConfig(steps=9, evaluate_every=4, checkpoint_every=1)


@pytest.fixture
def embedder():
    return build_tiny(scales=1, learners=1)


@pytest.fixture
def choose(embedder, painted):
    """Makes the choice of a new process, on the first images of two classes."""
    split = read_split(DataConfig(dataset="folder", data_dir=str(painted)), 0)
    images = [e for e in split.test if e.path.endswith(("0.png", "1.png"))]

    def choose(**given):
        train = replace(TRAIN, **given)
        embedding = {"resize_size": 48, "fit": "squash"}
        made = ChooseBestStep(embedder, images, train, embedding, Workers())
        made.set_model(SimpleNamespace(stop_training=False))
        return made

    return choose


@pytest.fixture
def plan(monkeypatch):
    """Has the scorings give MAP@R and Recall@1 as planned, without an embedding."""

    def plan(*scores):
        left = [dict(zip(("map_at_r", "recall_at_1"), s, strict=True)) for s in scores]
        monkeypatch.setattr(best_step, "embed", lambda *_, **__: None)
        monkeypatch.setattr(best_step, "evaluate", lambda *_: left.pop(0))

    return plan


def test_who_scores_nothing_holds_no_copy_of_the_network(embedder, monkeypatch):
    monkeypatch.setattr(best_step, "inference", lambda _: pytest.fail("it was copied"))
    ChooseBestStep(embedder, [], TRAIN, {}, Workers())
    two = Workers(Cluster(("a:1", "b:2"), 1))
    ChooseBestStep(embedder, [Example("a.png", "a", "test", None)], TRAIN, {}, two)


def test_the_step_with_the_highest_map_at_r_is_kept(choose, plan, embedder, tmp_path):
    plan((0.3, 0.8), (0.6, 0.7), (0.5, 0.9))
    core, run = core_of(embedder), RunFolder(tmp_path)
    choice, weights = choose(), {}
    choice.begin(0, lambda r: run.append_metrics({"step": choice.step, **r}))
    for step in range(1, 10):
        core.set_weights([weight + 1 for weight in core.get_weights()])
        weights[step] = core.get_weights()
        choice.on_train_batch_end(0)
    scored = [(r["step"], r["validation_map_at_r"]) for r in run.metrics()]
    assert scored == [(4, 0.3), (8, 0.6), (9, 0.5)]
    assert int(choice.state.best_step) == training_facts(run)["best_step"] == 8
    assert float(choice.state.best) == 0.6
    choice.take_best()
    for found, wanted in zip(core.get_weights(), weights[8], strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_patience_counts_scorings_without_a_better_one(choose, plan):
    plan((0.3, 0.8), (0.2, 0.9), (0.4, 0.7), (0.4, 0.8), (0.1, 0.9))
    choice = choose(evaluate_every=1, patience=2)
    stops = []
    for _ in range(5):
        assert choice.why_stopped() == ""
        choice.on_train_batch_end(0)
        stops.append(choice.model.stop_training)
    assert stops == [False, False, False, False, True]
    assert choice.why_stopped() == (
        "Stopped at step 5 of 9: no better MAP@R since step 3 (patience=2)."
    )

    plan((0.3, 0.8), (0.2, 0.8), (0.1, 0.8))
    choice = choose(evaluate_every=1)
    for _ in range(3):
        choice.on_train_batch_end(0)
    assert not choice.model.stop_training  # never, without patience


def test_a_scoring_that_sigterm_ends_is_done_on_resuming(choose, monkeypatch):
    choice, written = choose(), []
    choice.begin(3, written.append)
    monkeypatch.setattr(termination, "_asked", True)
    choice.on_train_batch_end(0)
    assert not written and int(choice.kept.scored_step) == 0
    monkeypatch.setattr(termination, "_asked", False)

    again = choose()
    again.begin(4, written.append)
    again.on_train_begin()
    assert len(written) == 1
    assert int(again.kept.scored_step) == int(again.state.best_step) == 4
    again.on_train_begin()
    assert len(written) == 1
