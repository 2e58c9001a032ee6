import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from deml_tf.data.image_header import pixels
from deml_tf.data.image_limits import MOST_PIXELS
from tests.serving import mutations


def of_bytes(signature, batch):
    """A stand-in for an export: it reads what begins as an image does."""
    del signature
    valid = np.array([one[:2] in (b"\xff\xd8", b"BM") for one in batch])
    numbers = np.array([len(one) for one in batch], np.float32)
    embedding = np.stack([np.cos(numbers), np.sin(numbers)], 1) * valid[:, None]
    return {"embedding": embedding, "valid": valid, "boxes": np.zeros((len(batch), 4))}


def test_a_neighbour_that_changes_is_noticed():
    images = mutations.readable(of_bytes)
    assert len(images) == 9
    strings = [mutations.mutated(n, 0, images)[2] for n in range(50)]
    read = mutations.check(of_bytes, strings, images)
    assert 0 < read < 50

    def leaking(signature, batch):
        outputs = of_bytes(signature, batch)
        if not outputs["valid"].all():
            row = outputs["embedding"][3]
            row[0] = np.nextafter(row[0], 2, dtype=row.dtype)
        return outputs

    with pytest.raises(AssertionError, match="embedding of a whole image changed"):
        mutations.check(leaking, strings, images)


def test_damages_are_of_every_kind_and_repeatable():
    images = mutations.whole_images()
    made = [mutations.mutated(n, 0, images) for n in range(400)]
    assert made == [mutations.mutated(n, 0, images) for n in range(400)]
    assert {name for name, _, _ in made} == images.keys()
    done = {change for _, changes, _ in made for change in changes.split()}
    assert done == {change.__name__ for change in mutations.MUTATIONS}
    assert len({data for _, _, data in made}) > 380


def test_bombs_are_bombs():
    count = tf.function(pixels, [tf.TensorSpec((), tf.string)], autograph=False)
    claims = {name: int(count(data)) for name, data in mutations.bombs().items()}
    # TensorFlow unpacks a GIF's frames and not the screen that they are shown on.
    assert claims.pop("gif") < MOST_PIXELS
    assert min(claims.values()) > MOST_PIXELS


def test_damaged_images_touch_no_neighbour(saved):
    command = [
        sys.executable,
        Path(mutations.__file__),
        saved,
        "300",
        "0",
        "session",
    ]
    done = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, timeout=1800
    )
    # A decoder that crashes ends the process by a signal, which is a negative status.
    assert done.returncode == 0, done.stderr[-2000:]
    first, last = map(json.loads, done.stdout.splitlines())
    assert first["whole_but_refused"] == [] and first["bombs_read"] == 1
    assert last["strings"] == 300 and 30 < last["read_after_all"] < 150
