"""A run keeps the split it was begun with, whatever becomes of the data."""

import json
import os
import shutil
from dataclasses import replace
from types import SimpleNamespace

import pytest

from deml_tf import compare
from deml_tf.compare import unlike_tests
from deml_tf.config import (
    Configs,
    DataConfig,
    LossConfig,
    ModelConfig,
    ScoreConfig,
    TrainConfig,
)
from deml_tf.data.example import Example
from deml_tf.data.selection import read_split, run_split
from deml_tf.data.split_record import read_record, split_digest, write_record
from deml_tf.data.splits import Split
from deml_tf.errors import DataError, UsageError
from deml_tf.evaluate import Source, readable
from deml_tf.runs.folder import RunFolder
from deml_tf.serving import source as serving
from deml_tf.training.session import _check_images, _read_split
from deml_tf.training.workers import Workers

ODD = os.fsdecode(b"b\xffird")  # a name that is no UTF-8


@pytest.fixture
def data(tmp_path, monkeypatch, painted):
    """A data set of eight classes, named by a relative path."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(painted, "set")
    return DataConfig(dataset="folder", data_dir="set", validation_classes=0.5)


def grow(folder):
    """Four classes that sort first, and an image more of another."""
    for name in ("aaa 1", "aaa 2", "aaa 3", "aaa 4"):
        shutil.copytree(folder / "class 00", folder / name)
    shutil.copy(folder / "class 00" / "0.png", folder / "class 00" / "00.png")


def labels(examples):
    return {example.label for example in examples}


def places(split):
    return [
        (role, e.label, os.path.abspath(e.path), e.box)
        for role in ("train", "validation", "test", "gallery")
        for e in getattr(split, role)
    ]


def test_it_comes_back_with_every_detail(tmp_path):
    box = (0.1, 0.2, 1 / 3, 1.0)
    split = Split(
        (
            Example(f"set/{ODD}/2.png", ODD, box=box),
            Example("/elsewhere/1.png", "b"),
            Example("set/a.tfrecord-00001@17:3+20", ODD),
        ),
        (),
        (Example("set/c/1.png", "c"), Example("set/d/1.png", "d")),
        (Example("set/c/2.png", "c"),),
    )
    data = DataConfig(dataset="tfds:x", data_dir="set")
    (tmp_path / "set").mkdir()
    here = os.getcwd()
    try:
        os.chdir(tmp_path)
        wanted = places(split)
        write_record(tmp_path / "split.json", split, data)
    finally:
        os.chdir(here)
    assert places(read_record(tmp_path / "split.json", data)) == wanted
    found = json.loads((tmp_path / "split.json").read_text(encoding="ascii"))
    assert found["data_dir"] == str(tmp_path / "set")
    assert found["classes"]["test"] == ["c", "d"]
    assert found["images"]["train"][1] == [0, "/elsewhere/1.png"]


def test_a_run_without_a_record_reads_the_data_set(tmp_path, data):
    assert read_record(tmp_path / "split.json", data) is None
    assert run_split(tmp_path / "split.json", data, 0) == read_split(data, 0)


def test_the_digest_knows_images_classes_and_roles_but_no_place(tmp_path, data):
    split = read_split(data, 0)
    shutil.copytree("set", tmp_path / "moved" / "copy")
    moved = read_split(replace(data, data_dir="moved/copy"), 0)
    assert split_digest(moved) == split_digest(split)
    others = (
        replace(split, test=split.test[1:]),
        replace(split, test=split.test[::-1]),
        replace(split, train=split.test, test=split.train),
        replace(split, test=(replace(split.test[0], label="x"), *split.test[1:])),
        replace(
            split, test=(replace(split.test[0], box=(0, 0, 1, 1)), *split.test[1:])
        ),
    )
    assert split_digest(split) not in map(split_digest, others)


def test_the_data_set_may_move_but_not_vanish(tmp_path, data):
    record = tmp_path / "split.json"
    write_record(record, read_split(data, 0), data)
    (tmp_path / "set").rename(tmp_path / "moved")
    with pytest.raises(UsageError, match="data_dir=set is no longer at .*/set, where"):
        read_record(record, data)
    moved = read_record(record, replace(data, data_dir="moved"))
    assert all(
        path.startswith(str(tmp_path / "moved")) for *_, path, _ in places(moved)
    )


@pytest.mark.parametrize(
    "old, new", [("class 00", "class 99"), ("}", ""), ("[0", "[7")]
)
def test_a_spoilt_record_is_refused(tmp_path, data, old, new):
    record = tmp_path / "split.json"
    write_record(record, read_split(data, 0), data)
    record.write_text(record.read_text().replace(old, new))
    with pytest.raises(DataError, match="split.json, which says .* is spoilt"):
        read_record(record, data)


def read(settings, run):
    """The images of a run, as its session takes them."""
    begun = run.split_path.exists()
    split = _read_split(settings, run, begun)
    return _check_images(split, settings, run, Workers(), begun)


def configs(data):
    train = TrainConfig(classes_per_batch=2, images_per_class=2)
    return Configs(data, ModelConfig(), LossConfig(), train, ScoreConfig())


def test_every_later_command_uses_the_split_of_the_start(tmp_path, data):
    run = RunFolder(tmp_path / "run")
    begun = read(configs(data), run)
    assert labels(begun.test) == {f"class {n:02d}" for n in range(4, 8)}
    grow(tmp_path / "set")

    resumed = read(configs(data), run)
    assert places(resumed) == places(begun)
    source = Source(
        run.embedder_path, tmp_path / "scores.json", data, 0, run.split_path
    )
    assert places(readable(source, "test")) == places(
        replace(begun, train=(), validation=())
    )
    exported = serving.Source("run", None, run, configs(data)).read_images()
    assert places(Split((), tuple(exported.held_out), ())) == places(
        Split((), begun.validation, ())
    )


def test_a_run_whose_images_vanish_is_not_resumed(tmp_path, data):
    run = RunFolder(tmp_path / "run")
    begun = read(configs(data), run)
    for example in begun.validation[:2]:
        os.remove(example.path)
    with pytest.raises(DataError, match="begun with the image .* and 1 more: put back"):
        read(configs(data), run)
    images = serving.Source("run", None, run, configs(data)).read_images()
    assert not images.held_out and "cannot be read" in images.why_none


def test_runs_tested_on_other_images_are_told(tmp_path, data, monkeypatch):
    runs = {name: RunFolder(tmp_path / name) for name in ("a", "b", "c", "old")}
    for name, share in (("a", 0.5), ("b", 0.0)):
        read(configs(replace(data, validation_classes=share)), runs[name])
    grow(tmp_path / "set")
    read(configs(data), runs["c"])
    (sentence,) = unlike_tests(runs)
    assert sentence.startswith("c was tested on other images than a")

    page = tmp_path / "page.html"
    monkeypatch.setattr(compare, "finished_runs", lambda folders: runs)
    monkeypatch.setattr(compare, "results_of", lambda run: {"frozen": {}, "test": {}})
    given = SimpleNamespace(FLAGS=SimpleNamespace(output=page))
    monkeypatch.setattr(compare, "flags", given)
    compare.main([])
    assert f"{sentence}." in page.read_text()


def test_data_above_where_a_link_leads(tmp_path, data):
    """The text of its path leads to a folder of the same name."""
    (tmp_path / "lists").mkdir()
    (tmp_path / "here/set").mkdir(parents=True)
    (tmp_path / "here/current").symlink_to("../lists")
    linked = replace(data, data_dir="here/current/../set")
    split = read_split(linked, 0)
    record = tmp_path / "split.json"
    write_record(record, split, linked)
    assert json.loads(record.read_text())["data_dir"] == f"{tmp_path}/set"
    assert places(read_record(record, linked)) == places(split)
    assert places(read_record(record, data)) == places(read_split(data, 0))
