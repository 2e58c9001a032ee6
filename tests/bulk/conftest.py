"""An export with its description, and images of which some cannot be read."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from tests.client.double_process import MODEL, exported_once

ABOUT = {
    "name": "birds",
    "version": 3,
    "weights_sha256": "5" * 64,
    "precision": "float32",
    "embedding": {"size": 24, "parts": {"scales": 1, "learners": 2, "size": 12}},
    "threshold": {"cosine": 0.75},
    "preprocessing": {"fit": "stretch", "resize_size": 48},
}


def write_about(folder, **changes):
    """Writes the deml.json of a version folder."""
    place = folder / "assets.extra"
    place.mkdir(parents=True, exist_ok=True)
    (place / "deml.json").write_text(json.dumps({**ABOUT, **changes}))
    return folder


@pytest.fixture(scope="session")
def about():
    """Makes a version folder's deml.json; other values win."""
    return write_about


@pytest.fixture(scope="session")
def exported(tmp_path_factory):
    """A version folder as an export leaves it, of one scale and 24 numbers."""
    folder = tmp_path_factory.mktemp("models") / "birds" / "3"
    shutil.copytree(exported_once(tmp_path_factory) / MODEL / "1", folder)
    return write_about(folder)


@pytest.fixture(scope="session")
def mixed(tmp_path_factory):
    """Eleven files in two classes: images of several sizes, three that are none."""
    folder, random = tmp_path_factory.mktemp("mixed"), np.random.default_rng(0)
    for n in range(11):
        place = folder / ("left" if n < 6 else "right")
        place.mkdir(exist_ok=True)
        sides = random.integers(30, 90, 2)
        image = Image.fromarray(random.integers(0, 256, (*sides, 3), np.uint8))
        image.save(place / f"{n:02d}.jpg")
    (folder / "left" / "02.jpg").write_bytes(b"no image")
    (folder / "right" / "06.jpg").write_bytes(b"")
    (folder / "right" / "09.jpg").unlink()
    (folder / "right" / "09.jpg").mkdir()
    return folder
