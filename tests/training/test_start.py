"""What is refused before the data are read."""

import errno
import os
import shutil
from unittest import mock

import pytest
import tensorflow as tf

from deml_tf.backbones.weights import torch_efficientnet_lite
from deml_tf.cli.flags import as_flags
from deml_tf.config import (
    Configs,
    DataConfig,
    DistributionConfig,
    LossConfig,
    ModelConfig,
    ScoreConfig,
    TrainConfig,
)
from deml_tf.data.selection import read_split
from deml_tf.data.split_record import write_record
from deml_tf.errors import DataError, UsageError
from deml_tf.runs.folder import RunFolder
from deml_tf.training import session
from deml_tf.training.cluster import Cluster
from deml_tf.training.session import Session
from deml_tf.training.start import train
from deml_tf.training.worker_processes import free_addresses, tf_config
from deml_tf.training.workers import Workers


class Begun(Exception):
    """An embedder would be built."""


@pytest.mark.parametrize(
    ("model", "loss", "words"),
    [
        ({"backbone": "resnet"}, {}, "backbone='resnet' is unknown"),
        ({"cut_layer": "x"}, {}, "cut_layer='x' is unknown for efficientnet_lite0"),
        ({"weights": "no.pth"}, {}, "weights='no.pth' is no file"),
        ({"region_arguments": {"steps": 0}}, {}, "walk_steps=0"),
        ({"scales": 2, "embedding_dim": 1}, {}, "embedding_dim=1: 2 scales x"),
        ({}, {"loss_arguments": {"alpha": -1.0}}, "binomial_deviance_alpha=-1.0"),
        (
            {},
            {"decoupling": "adversary", "decoupling_arguments": {"steps": 0}},
            "adversary_steps=0",
        ),
        ({}, {}, "nowhere"),  # only then the data
    ],
)
def test_wrong_arguments_are_told_before_the_data(model, loss, words, tmp_path):
    with pytest.raises(UsageError, match=words):
        train(configs(tmp_path, model, loss), DistributionConfig())
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("dataset", "share", "words"),
    [
        ("folder", 0.0, "patience=2 needs validation classes: give validation_classes"),
        ("folder", 0.5, "nowhere"),
        ("list", 0.0, "nowhere"),  # it may list some
    ],
)
def test_patience_needs_validation_classes(dataset, share, words, tmp_path):
    data = {"dataset": dataset, "validation_classes": share}
    given = configs(tmp_path, data=data, patience=2)
    with pytest.raises(UsageError, match=words):
        train(given, DistributionConfig())


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"patience": 2}, "patience=2 needs validation classes"),
        ({"classes_per_batch": 3}, "classes_per_batch=3 is more than the 2 classes"),
        ({"classes_per_batch": 2}, "weights='imagenet' needs the package none_such"),
    ],
)
def test_what_is_refused_before_images_are_read(given, words, tmp_path, monkeypatch):
    rows = ["path,label,split"]
    for n, label in enumerate("aabbccdd"):
        (tmp_path / f"{n}.jpg").touch()
        rows.append(f"{n}.jpg,{label},{'train' if label in 'ab' else 'test'}")
    (tmp_path / "list.csv").write_text("\n".join(rows))
    data = {"dataset": "list", "data_dir": str(tmp_path)}
    model = {"scales": 1, "learners": 1, "input_size": 64}
    monkeypatch.setattr(session, "take_out_bad", lambda *_: pytest.fail("it scans"))
    monkeypatch.setattr(torch_efficientnet_lite, "_PACKAGE", "none_such")
    asked = configs(tmp_path, model, data=data, **given)
    with pytest.raises(UsageError, match=words):
        Session.build(asked, RunFolder(tmp_path / "run"), Workers())


def test_pairs_within_replicas_are_those_the_run_began_with(
    tmp_path, painted, small_backbone
):
    data, loss = {"data_dir": str(painted)}, {"pairs": "replica"}
    model = {"backbone": "small", "weights": "none", "scales": 1, "learners": 1}
    sizes = {"classes_per_batch": 2, "images_per_class": 2}
    asked = configs(tmp_path, {**model, "input_size": 64}, loss, data, **sizes)
    run = RunFolder.open(tmp_path / "run", {})
    Session.build(asked, run, Workers())
    Session.build(asked, run, Workers())
    run.write_json("replicas.json", {"replicas": 2})
    with pytest.raises(UsageError, match="begun on 2 replicas, and here are 1, which"):
        Session.build(asked, run, Workers())
    (run.path / "replicas.json").unlink()  # as earlier versions
    Session.build(asked, run, Workers())
    assert run.read_json("replicas.json") == {"replicas": 1}
    run.close()


def test_of_several_workers_one_names_the_image_that_went_away(
    tmp_path, painted, small_backbone, monkeypatch
):
    """In a graph its error may read like that of a worker that is gone."""
    images = shutil.copytree(painted, tmp_path / "images")
    model = {"backbone": "small", "weights": "none", "scales": 1, "learners": 1}
    sizes = {"classes_per_batch": 2, "images_per_class": 5, "steps": 1}
    data = {"data_dir": str(images)}
    asked = configs(tmp_path, {**model, "input_size": 64}, None, data, **sizes)

    class Two(Workers):
        def agree(self, value):
            return value

    def fit(*_):
        for example in built.split.train:
            os.remove(example.path)
        raise tf.errors.UnknownError(None, None, "PyFunc on /job:worker/task:0")

    run = RunFolder.open(tmp_path / "run", {})
    built = Session.build(asked, run, Two(Cluster(("a:1", "b:1"), 0)))
    monkeypatch.setattr(session.loop, "fit", fit)
    with pytest.raises(DataError, match="cannot read the image .* and 9 more"):
        built.fit()
    run.close()


def test_of_several_workers_one_tells_of_the_data(
    tmp_path, monkeypatch, capsys, painted
):
    sizes = {"classes_per_batch": 2, "images_per_class": 2}
    asked = configs(tmp_path, data={"data_dir": str(painted)}, **sizes)
    monkeypatch.setattr(session, "build_embedder", mock.Mock(side_effect=Begun))
    for rank in (0, 1):
        workers = Workers(Cluster(("a:1", "b:1"), rank))
        monkeypatch.setattr(Workers, "start", lambda *_, found=workers: found)
        with pytest.raises(Begun):
            train(asked, DistributionConfig())
        assert ("train: " in capsys.readouterr().out) == (rank == 0)


def test_a_record_of_this_very_run_is_none_of_an_earlier_one(
    tmp_path, monkeypatch, painted
):
    """Of several workers the first one writes it while the others still build."""
    data = {"data_dir": str(painted)}
    asked = configs(tmp_path, data=data, classes_per_batch=2, images_per_class=2)
    run, taken = RunFolder(tmp_path / "run"), []

    def build(*_):
        split = read_split(asked.data, asked.train.seed)
        write_record(run.split_path, split, asked.data)

    def take_out(*_):
        taken.append(run)
        raise UsageError("seen")

    run.path.mkdir()
    monkeypatch.setattr(session, "build_embedder", build)
    monkeypatch.setattr(session, "take_out_bad", take_out)
    with pytest.raises(UsageError, match="^seen$"):
        Session.build(asked, run, Workers())
    assert taken == [run]


def test_a_finished_run_needs_no_weights(tmp_path, capsys):
    given = configs(tmp_path, {"weights": "gone.pth"})
    run = RunFolder.open(tmp_path / "run", as_flags(*given))
    run.write_json("results.json", {})
    run.close()
    assert train(given, DistributionConfig()) is None
    assert "is finished" in capsys.readouterr().out


def test_a_finished_run_on_a_read_only_disk(tmp_path, monkeypatch, capsys):
    given = configs(tmp_path)
    run = RunFolder.open(tmp_path / "run", as_flags(*given))
    run.close()

    def refuse(_):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(RunFolder, "_take_lock", refuse)
    with pytest.raises(UsageError, match="cannot be made or written .Read-only file"):
        train(given, DistributionConfig())
    run.write_json("results.json", {})
    assert train(given, DistributionConfig()) is None
    assert "is finished" in capsys.readouterr().out
    with pytest.raises(UsageError, match=r"made with other flags \(seed: 0 -> 1\)"):
        train(configs(tmp_path, seed=1), DistributionConfig())


def test_a_finished_run_waits_for_no_other_worker(tmp_path, monkeypatch, capsys):
    """They have seen that it is finished, and do not come."""
    given = configs(tmp_path)
    run = RunFolder.open(tmp_path / "run", as_flags(*given))
    run.write_json("results.json", {})
    run.close()
    monkeypatch.setattr(Workers, "start", lambda *_: pytest.fail("it waits"))
    for rank, said in ((0, "is finished"), (1, "")):
        monkeypatch.setenv("TF_CONFIG", tf_config(rank, free_addresses(2)))
        assert train(given, DistributionConfig()) is None
        assert said in capsys.readouterr().out


def configs(folder, model=None, loss=None, data=None, **given):
    place = {"dataset": "folder", "data_dir": str(folder / "nowhere")}
    train = {"run_dir": str(folder / "run"), "deterministic": False, **given}
    return Configs(
        DataConfig(**{**place, **(data or {})}),
        ModelConfig(**(model or {})),
        LossConfig(**(loss or {})),
        TrainConfig(**train),
        ScoreConfig(),
    )
