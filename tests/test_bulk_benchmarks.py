"""What the benchmarks of bulk embedding and of search make up."""

import numpy as np
from PIL import Image

from benchmarks.bulk_embedding import name_anew
from benchmarks.vector_index import random_near


def test_images_get_new_names(tmp_path):
    images = [tmp_path / f"{n}.png" for n in range(3)]
    for n, image in enumerate(images):
        Image.new("RGB", (1, 1), (n, n, n)).save(image)
    name_anew(images, tmp_path / "all", 1007)
    found = sorted((tmp_path / "all").rglob("*.jpg"))
    assert len(found) == len({f.name for f in found}) == 1007
    for n, file in enumerate(found):
        assert file.read_bytes() == images[n % 3].read_bytes()


def test_random_vectors_lie_around_the_real_ones():
    real = np.random.default_rng(0).normal(size=(50, 8)).astype("f4")
    real /= np.linalg.norm(real, axis=1, keepdims=True)
    found = random_near(real, 400, seed=0)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)
    np.testing.assert_array_equal(found, random_near(real, 400, seed=0))
    assert not (found == random_near(real, 400, seed=1)).all(axis=1).any()
    # Each is nearer to one of them than a vector of no direction is.
    nearest = (found @ real.T).max(axis=1).mean()
    free = np.random.default_rng(1).normal(size=(400, 8))
    free /= np.linalg.norm(free, axis=1, keepdims=True)
    assert nearest > (free @ real.T).max(axis=1).mean() + 0.05
