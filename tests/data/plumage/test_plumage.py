import csv
import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from PIL import Image

from deml_tf.data.plumage import generator, render
from deml_tf.data.plumage.generator import write_plumage
from deml_tf.data.plumage.render import (
    LARGEST,
    LEAST_VISIBLE,
    SMALLEST,
    draw_image,
)
from deml_tf.data.plumage.species import ATTRIBUTES, PALETTE, choose_species
from deml_tf.errors import DataError, UsageError

TINY = {"size": 64, "species": 12, "images": 2}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> Path:
    return write_plumage(tmp_path_factory.mktemp("p") / "tiny", workers=1, **TINY)


@pytest.fixture(scope="module")
def draw(tmp_path_factory):
    """Starts `write_plumage` in a process whose package does not import TensorFlow."""
    home = tmp_path_factory.mktemp("home")
    (home / "deml_tf").mkdir()
    (home / "deml_tf/__init__.py").write_text(
        f"__path__ = [{str(Path(generator.__file__).parents[2])!r}]\n"
    )
    code = (
        "import sys; from deml_tf.data.plumage.generator import write_plumage; "
        "write_plumage(sys.argv[1], **eval(sys.argv[2])); "
        "assert 'tensorflow' not in sys.modules"
    )

    def start(folder, **arguments):
        return subprocess.Popen(
            [sys.executable, "-c", code, str(folder), repr(arguments)],
            stdout=subprocess.DEVNULL,
            cwd=home,
            env=os.environ | {"PYTHONPATH": str(home)},
        )

    return start


def _files(folder: Path) -> dict[str, bytes]:
    found = (p for p in sorted(folder.rglob("*")) if p.is_file())
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in found}


def _rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "annotations.csv").open(newline="") as file:
        return list(csv.DictReader(file))


# ---------------------------------------------------------------- species


@pytest.mark.parametrize("seed", [0, 1])
def test_every_species_is_two_attributes_from_its_nearest(seed):
    species = choose_species(200, seed)
    codes = np.array([s.code for s in species])
    differ = (codes[:, None] != codes[None]).sum(axis=-1)
    np.fill_diagonal(differ, len(ATTRIBUTES))
    assert differ.min() >= 2
    assert len({s.name for s in species}) == 200
    assert [s.label for s in species] == sorted(s.label for s in species)


def test_the_greedy_choice_refuses_near_codes(monkeypatch):
    # With few combinations nearly every draw is near another: distance 2 must hold
    # because it is enforced, and not because collisions are rare.
    small = {key: values[:2] for key, values in ATTRIBUTES.items()}
    monkeypatch.setattr("deml_tf.data.plumage.species.ATTRIBUTES", small)
    codes = np.array([s.code for s in choose_species(200)])
    differ = (codes[:, None] != codes[None]).sum(axis=-1)
    assert differ[~np.eye(200, dtype=bool)].min() >= 2


def test_species_are_named_after_what_they_wear():
    for species in choose_species(200):
        first, kind = species.name.split("_")[:2]
        part = {"crowned": "crown", "breasted": "breast", "winged": "wing"}.get(kind)
        if part is not None:
            assert species.attributes[part] == first.lower()


def test_fewer_species_are_the_first_of_more():
    assert choose_species(200)[:12] == choose_species(12)
    assert choose_species(12, seed=1) != choose_species(12, seed=0)


def test_both_halves_are_alike():
    codes = np.array([s.code for s in choose_species(200)])
    for column, values in zip(codes.T, ATTRIBUTES.values(), strict=True):
        first, second = (
            np.array([(half == v).mean() for v in values])
            for half in (column[:100], column[100:])
        )
        # Three standard errors of a difference of two shares.
        spread = np.sqrt(first * (1 - first) + second * (1 - second)) / 10
        assert (np.abs(first - second) < 3.5 * spread).all()


# ---------------------------------------------------------------- one image


def test_size_box_and_mask_of_images():
    shares = []
    for species in choose_species(30):
        image = draw_image(species, 96, np.random.default_rng([5, species.number]))
        x, y, w, h = image.extent
        shares.append(max(w, h) / 96)
        assert 0 <= x and 0 <= y and x + w <= 96 and y + h <= 96
        bx, by, bw, bh = image.box
        assert image.mask.getbbox() == (bx, by, bx + bw, by + bh)
        # The visible part lies within the whole bird, to the pixel's edge.
        assert bx >= x - 1 and by >= y - 1
        assert bx + bw <= x + w + 1 and by + bh <= y + h + 1
    assert SMALLEST <= min(shares) < 0.45 and 0.75 < max(shares) <= LARGEST


def test_a_wider_view_shows_the_same_birds_smaller():
    for species in choose_species(10):
        near, far = (
            draw_image(species, size, np.random.default_rng(species.number), view)
            for size, view in ((96, 1), (240, 2.5))
        )
        np.testing.assert_allclose(far.extent[2:], near.extent[2:], rtol=1e-6)
        assert far.image.size == (240, 240)
        x, y, w, h = far.extent
        assert 0 <= x and 0 <= y and x + w <= 240 and y + h <= 240


def test_mask_is_where_the_bird_is(monkeypatch):
    species = choose_species(1)[0]
    with_bird = draw_image(species, 96, np.random.default_rng(3))
    # The same stream, the bird painted with nothing: outside the mask, nothing changes.
    paint = render._paint_bird

    def invisible(image, parts, extent, rng):
        silhouette, light = paint(image.copy(), parts, extent, rng)
        return silhouette, np.ones_like(light)

    monkeypatch.setattr(render, "_paint_bird", invisible)
    without = draw_image(species, 96, np.random.default_rng(3))
    changed = np.abs(
        np.asarray(with_bird.image, int) - np.asarray(without.image, int)
    ).max(axis=2)
    inside = np.asarray(with_bird.mask)
    assert (changed[inside] > 8).mean() > 0.9
    # Only the half-covered pixels of its edge may lie outside.
    grown = np.zeros_like(inside)
    for dy in (-1, 0, 1):
        for dx in (-1, 0, 1):
            grown |= np.roll(inside, (dy, dx), (0, 1))
    assert (changed[~grown] == 0).mean() > 0.995


def test_occluders_hide_some_birds_and_none_too_much(monkeypatch):
    seen = []
    occlude = render._occlude

    def record(silhouette, rng):
        front, hidden = occlude(silhouette, rng)
        bird = np.asarray(silhouette) > 0
        seen.append(1 - (np.asarray(hidden)[bird] > 0).mean())
        return front, hidden

    monkeypatch.setattr(render, "_occlude", record)
    for k in range(40):
        draw_image(choose_species(1)[0], 48, np.random.default_rng(k))
    assert LEAST_VISIBLE <= min(seen) < 0.95
    assert max(seen) == 1.0


def test_an_occluder_that_hides_the_bird_is_left_out(monkeypatch):
    curtain = np.array([(0, 0), (1, 0), (1, 1), (0, 1)], float)
    for reach, hides in ((1.0, False), (0.15, True)):
        shape = [curtain * (1, reach)], np.full((1, 3), 90.0)
        monkeypatch.setattr(render, "draw_occluder", lambda _, s=shape: s)
        bird = Image.new("L", (64, 64), 255)
        front, hidden = render._occlude(bird, np.random.default_rng(4))
        assert (hidden.getbbox() is not None) == hides
        assert (front.getbbox() is not None) == hides


@pytest.mark.parametrize(
    ("part", "least"),
    [("crown", 0.04), ("back", 0.06), ("breast", 0.15), ("wing", 0.2)],
)
def test_attributes_are_painted(part, least):
    # The colour of a large part is found on the bird, and changes with the attribute.
    def share(colour):
        base = choose_species(1)[0]
        worn = base.attributes | {p: "green" for p in ("crown", "back", "breast")}
        worn |= {"wing": "green", "breast_pattern": "plain", "crest": "none"}
        worn |= {"bill_colour": "black", "eye_stripe": "none", part: colour}
        bird = type(base)(1, "bird", tuple(worn.values()))
        image = draw_image(bird, 128, np.random.default_rng([1, 2]))
        pixels = np.asarray(image.image, float)[np.asarray(image.mask)]
        pixels -= pixels.mean(axis=1, keepdims=True)  # hue, whatever the light
        target = np.array(PALETTE["scarlet"], float)
        target -= target.mean()
        norms = np.linalg.norm(pixels, axis=1) * np.linalg.norm(target) + 1e-6
        return ((pixels @ target) / norms > 0.9).mean()

    gain = share("scarlet") - share("green")
    assert gain > least


# ---------------------------------------------------------------- the set on disk


def test_layout_and_columns_match_the_species(tiny):
    species = {s.label: s for s in choose_species(12)}
    rows = _rows(tiny)
    assert list(rows[0]) == ["path", "label", "x", "y", "w", "h", *ATTRIBUTES]
    assert len(rows) == 24 and [r["path"] for r in rows] == sorted(
        r["path"] for r in rows
    )
    for row in rows:
        wanted = species[row["label"]].attributes
        assert {key: row[key] for key in ATTRIBUTES} == wanted
        assert Path(row["path"]).parent.name == row["label"]
        with Image.open(tiny / row["path"]) as image:
            assert image.size == (64, 64) and image.mode == "RGB"
        mask = Path("masks", *Path(row["path"]).parts[1:]).with_suffix(".png")
        with Image.open(tiny / mask) as image:
            x, y, w, h = (int(row[key]) for key in "xywh")
            assert image.mode == "1" and image.getbbox() == (x, y, x + w, y + h)
    assert {p.name for p in tiny.iterdir()} == {
        "images",
        "masks",
        "annotations.csv",
        "plumage.json",
    }


def test_same_bytes_with_two_workers(tiny, draw, tmp_path):
    assert draw(tmp_path / "two", workers=2, **TINY).wait() == 0
    assert _files(tmp_path / "two") == _files(tiny)


def test_as_many_workers_as_cores_that_it_may_use(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 5})
    monkeypatch.setattr(generator, "_WORTH_A_WORKER", 1)
    monkeypatch.setattr(generator, "_run", run := mock.Mock(side_effect=KeyError))
    with pytest.raises(KeyError):
        write_plumage(tmp_path / "set", size=32, species=9, images=9)
    assert run.call_args.args[-1] == 2


def test_seed_and_image_change_the_image(tiny, tmp_path):
    other = write_plumage(tmp_path / "other", seed=1, workers=1, **TINY)
    images = [v for k, v in _files(tiny).items() if k.startswith("images")]
    others = [v for k, v in _files(other).items() if k.startswith("images")]
    assert len({*images, *others}) == 48


def test_a_smaller_set_is_part_of_a_larger(tiny, tmp_path):
    part = tmp_path / "part"
    killed = tmp_path / ".part.0123abcd.part"
    (killed / "images").mkdir(parents=True)
    write_plumage(part, size=64, species=3, images=1, workers=1)
    assert {entry.name for entry in tmp_path.iterdir()} == {"part"}
    images = {k: v for k, v in _files(part).items() if k.startswith("images")}
    assert len(images) == 3 and images.items() <= _files(tiny).items()


def test_a_finished_set_is_left_alone(tiny, monkeypatch):
    monkeypatch.setattr(generator, "_draw_all", lambda *_: pytest.fail("drawn again"))
    assert write_plumage(tiny, workers=1, **TINY) == tiny


def test_the_record_of_earlier_versions_is_read(tiny, tmp_path):
    record = json.loads((tiny / "plumage.json").read_text())
    record["pictures"] = record.pop("images")
    (tmp_path / "plumage.json").write_text(json.dumps(record))
    assert write_plumage(tmp_path, workers=1, **TINY) == tmp_path
    with pytest.raises(UsageError, match="images=2 rather than 3: name"):
        write_plumage(tmp_path, workers=1, **TINY | {"images": 3})


@pytest.mark.parametrize(
    "change", [{"seed": 3}, {"size": 65}, {"species": 13}, {"view": 2}]
)
def test_a_set_of_other_parameters_is_refused(tiny, change):
    ((name, value),) = change.items()
    with pytest.raises(UsageError, match=rf"{name}=[\d.]+ rather than {value}"):
        write_plumage(tiny, workers=1, **TINY | change)


def test_a_set_of_another_version_is_refused(tiny, monkeypatch):
    monkeypatch.setattr(generator, "VERSION", 999)
    with pytest.raises(UsageError, match="version=1 rather than 999"):
        write_plumage(tiny, workers=1, **TINY)


def test_other_folders_are_refused_and_untouched(tmp_path):
    (tmp_path / "holiday.jpg").write_bytes(b"dear")
    with pytest.raises(UsageError, match="not Plumage"):
        write_plumage(tmp_path, workers=1, **TINY)
    with pytest.raises(UsageError, match="not Plumage"):
        write_plumage(tmp_path / "holiday.jpg", workers=1, **TINY)
    assert _files(tmp_path) == {"holiday.jpg": b"dear"}


@pytest.mark.parametrize("text", ["{", "3"])
def test_an_unreadable_record_is_refused(tmp_path, text):
    (tmp_path / "plumage.json").write_text(text)
    with pytest.raises(DataError, match="cannot be read"):
        write_plumage(tmp_path, workers=1, **TINY)


def test_an_empty_folder_is_filled(tmp_path):
    (tmp_path / "empty").mkdir()
    folder = write_plumage(tmp_path / "empty", 0, 32, 1, 1, workers=1)
    assert json.loads((folder / "plumage.json").read_text())["size"] == 32
    assert [p.name for p in tmp_path.iterdir()] == ["empty"]


@pytest.mark.parametrize(
    ("name", "value"),
    [("seed", -1), ("size", 8), ("species", 0), ("species", 1000)]
    + [("images", 0), ("images", 100), ("workers", 0)],
)
def test_bad_arguments(tmp_path, name, value):
    with pytest.raises(UsageError, match=f"{name}={value} is out of range"):
        write_plumage(tmp_path / "new", **{name: value})
    assert not list(tmp_path.iterdir())


def test_an_error_leaves_nothing(tmp_path, monkeypatch):
    draw = generator._draw_species

    def fail(folder, species, **options):
        if species.number == 3:
            raise OSError("disk full")
        return draw(folder, species, **options)

    monkeypatch.setattr(generator, "_draw_species", fail)
    with pytest.raises(OSError, match="disk full"):
        write_plumage(tmp_path / "set", workers=1, **TINY)
    assert not list(tmp_path.iterdir())


def test_a_mount_point_is_refused_before_the_drawing(tmp_path, monkeypatch):
    monkeypatch.setattr(os.path, "ismount", lambda path: Path(path) == tmp_path)
    with pytest.raises(UsageError, match="mount point, .*: name a folder in it"):
        write_plumage(tmp_path, workers=1, **TINY)


def test_a_set_that_cannot_take_its_place_is_kept(tmp_path, monkeypatch):
    def busy(self):
        raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), self)

    (tmp_path / "set").mkdir()
    with monkeypatch.context() as patch:
        patch.setattr(generator.Path, "rmdir", busy)
        with pytest.raises(DataError, match="Device or resource busy.* now called"):
            write_plumage(tmp_path / "set", 0, 32, 1, 1, workers=1)
    (kept,) = tmp_path.glob("set.*")
    assert (kept / "plumage.json").is_file()


def test_killed_half_way_leaves_nothing_that_looks_finished(draw, tmp_path):
    process = draw(tmp_path / "set", size=64, species=900, images=9, workers=1)
    end = time.monotonic() + 60
    first = ".*/content/images/*/01.jpg"
    while time.monotonic() < end and not list(tmp_path.glob(first)):
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert list(tmp_path.glob(first))
    assert not (tmp_path / "set").exists()
    assert not list(tmp_path.rglob("plumage.json"))
    assert not list(tmp_path.rglob("annotations.csv"))
    write_plumage(tmp_path / "set", 0, 32, 1, 1, workers=1)
    assert [path.name for path in tmp_path.iterdir()] == ["set"]
