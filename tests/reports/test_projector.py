"""Embeddings for TensorBoard's projector, and their map."""

import csv
import re
import warnings
from dataclasses import replace
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from PIL import Image

from deml_tf.data.example import Example
from deml_tf.data.image_files import find_image_files
from deml_tf.reports import projector
from deml_tf.reports.projector import flattened, make_sprite, write_projector
from tests.reports.heard import nameless


@pytest.fixture
def examples(tmp_path):
    """Ten images of plain colours, of two classes."""
    found = []
    for i in range(10):
        path = tmp_path / f"image {i}.png"
        Image.new("RGB", (8 + i, 12), (25 * i, 100, 0)).save(path)
        found.append(Example(str(path), f"class\t{i % 2}"))
    return found


def apart(count, seed=0):
    """Unit embeddings of two classes far from each other."""
    rng = np.random.default_rng(seed)
    centres = np.eye(2, 16)[np.arange(count) % 2]
    numbers = centres + 0.05 * rng.normal(size=(count, 16))
    return numbers / np.linalg.norm(numbers, axis=1, keepdims=True)


def test_tensorboard_finds_every_file(examples, tmp_path):
    folder = tmp_path / "new" / "projector"
    assert write_projector(folder, apart(10), examples) == 10
    numbers = np.loadtxt(folder / "embeddings.tsv", delimiter="\t")
    np.testing.assert_allclose(numbers, apart(10), rtol=1e-5, atol=1e-9)
    with (folder / "metadata.tsv").open() as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    assert [row["label"] for row in rows] == [f"class {i % 2}" for i in range(10)]
    assert [row["path"] for row in rows] == [e.path for e in examples]
    config = (folder / "projector_config.pbtxt").read_text()
    for name in ("embeddings.tsv", "metadata.tsv", ".sprite.png"):
        assert f'"{name}"' in config and (folder / name).exists()
    assert config.count("single_image_dim: 64") == 2
    page = (folder / "map.html").read_text()
    assert "<svg" in page and "class 0" in page
    assert find_image_files(folder).images == []  # a training would take them


def test_the_map_names_classes_as_they_are(examples, tmp_path):
    names = ["a $^$ b", "_c"]
    examples = [replace(e, label=names[i % 2]) for i, e in enumerate(examples)]
    write_projector(tmp_path / "p", apart(10), examples)
    page = (tmp_path / "p" / "map.html").read_text()
    assert all(f">{name}<" in page for name in names)
    assert not nameless(page)


def test_long_names_leave_the_map_its_room():
    names = [f"{n:02d}{'_of_a_family' * 30}"[:231] for n in range(12)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        drawn = projector._map(apart(60)[:, :2], [*names] * 5)
    (width,) = re.findall(r'viewBox="0 0 ([\d.]+) ', drawn)
    dots = [float(x) for x in re.findall(r'<use[^>]* x="([\d.]+)"', drawn)]
    assert len(dots) >= 60 and max(dots) - min(dots) > float(width) / 2


def test_tensorboard_reads_the_description(examples, tmp_path):
    from google.protobuf import text_format
    from tensorboard.plugins.projector.projector_config_pb2 import ProjectorConfig

    write_projector(tmp_path / "p", apart(10), examples)
    text = (tmp_path / "p" / "projector_config.pbtxt").read_text()
    config = text_format.Parse(text, ProjectorConfig())
    assert list(config.embeddings[0].sprite.single_image_dim) == [64, 64]


def test_each_image_has_its_tile(examples):
    side, sprite = make_sprite(examples, np.arange(len(examples)))
    assert side == 64 and sprite.size == (256, 256)
    for i in range(10):
        middle = (i % 4 * 64 + 32, i // 4 * 64 + 32)
        assert sprite.getpixel(middle) == (25 * i, 100, 0)
    assert sprite.getpixel((3 * 64 + 32, 3 * 64 + 32)) == (255, 255, 255)


def test_classes_stay_apart_on_the_map():
    places = flattened(apart(60))
    centres = [places[i::2].mean(axis=0) for i in range(2)]
    spread = max(places[i::2].std() for i in range(2))
    near = np.linalg.norm(places[:, None] - places[None], axis=2)
    np.fill_diagonal(near, np.inf)
    assert (near.argmin(1) % 2 == np.arange(60) % 2).all()
    assert 1 < 3 * spread < np.linalg.norm(centres[0] - centres[1])
    np.testing.assert_array_equal(flattened(apart(60)), places)  # the same again


def test_no_matplotlibrc_changes_the_map(examples, tmp_path):
    pages = []
    for usetex in (False, True):
        folder = tmp_path / str(usetex)
        with matplotlib.rc_context({"text.usetex": usetex, "lines.markersize": 20}):
            write_projector(folder, apart(10), examples)
        pages.append((folder / "map.html").read_text())
    assert pages[0] == pages[1]


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_few_images(count, examples, tmp_path):
    assert write_projector(tmp_path / "few", apart(count), examples[:count]) == count
    assert flattened(apart(count)).shape == (count, 2)


def test_many_images_are_drawn_by_lot(examples, tmp_path, monkeypatch):
    monkeypatch.setattr(projector, "MOST", 6)
    taken = []
    for seed in (0, 0, 1):
        folder = tmp_path / f"{seed}"
        assert write_projector(folder, apart(10), examples, seed) == 6
        taken.append((Path(folder) / "metadata.tsv").read_text())
    assert taken[0] == taken[1] != taken[2]


def test_the_images_are_shown_as_they_were_laid_out(examples, tmp_path, monkeypatch):
    """Each by its place among all of them, of which some are taken."""
    monkeypatch.setattr(projector, "MOST", 4)

    def layout(image, place):
        return np.full_like(image, 20 * place)

    folder = tmp_path / "projector"
    assert write_projector(folder, apart(10), examples, layout=layout) == 4
    with (folder / "metadata.tsv").open() as file:
        paths = [row["path"] for row in csv.DictReader(file, delimiter="\t")]
    places = [[e.path for e in examples].index(path) for path in paths]
    with Image.open(folder / ".sprite.png") as sprite:
        pixels = np.asarray(sprite)[32::64, 32::64, 0].ravel()
    assert pixels.tolist() == [20 * place for place in places]
