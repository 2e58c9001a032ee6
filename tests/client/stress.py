"""Many clients against the double, which is killed and restarted twice meanwhile.

    python -m tests.client.stress --minutes=5 --clients=64

Each client asks for random images of a known set and holds every answer to its own
image's. Loopback only; ends with status 1 if an answer was lost or another's.
"""

import argparse
import collections
import dataclasses
import json
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import tensorflow as tf

from deml_tf.client import Client
from deml_tf.errors import DataError, UsageError
from deml_tf.serving.proof_images import drawn_images
from tests.client.double_process import MODEL, Double, export_tiny

IMAGES = 200
BROKEN = 10  # of them
MOST_REQUESTS = 1_000_000
TOLERANCE = 1e-5  # answers differ by the size of the batch they were computed in
KILLED_FOR = 3.0  # seconds before it is started again


@dataclasses.dataclass
class Ask:
    """One call of a client: when, how long, what came of it."""

    begun: float
    ended: float
    images: int
    lost: int
    mixed_up: int
    furthest: float
    retries: int


def known_set():
    images = drawn_images(IMAGES, seed=1)
    for number in range(BROKEN):
        place = number * IMAGES // BROKEN
        images[place] = images[place][: 50 * number]
    return images


def known_answers(folder, images):
    """By the Python loader, in another process than the double's, eight at a time."""
    embed = tf.saved_model.load(str(folder)).signatures["serving_default"]
    outputs = [
        embed(image_bytes=tf.constant(images[start : start + 8]))
        for start in range(0, len(images), 8)
    ]
    return tuple(
        np.concatenate([o[name].numpy() for o in outputs])
        for name in ("embedding", "valid")
    )


def nearest_gap(embeddings, valid):
    """The least of the largest differences between two images' embeddings."""
    rows = embeddings[valid]
    gaps = np.abs(rows[:, None] - rows).max(-1)
    return float((gaps + np.eye(len(rows)) * 9).min())


def judge(found, chosen, embeddings, valid):
    """How many answers are another image's, and how far off the others are."""
    off = np.abs(found.embedding - embeddings[chosen]).max(1)
    wrong = (off > TOLERANCE) | (found.valid != valid[chosen])
    return int(wrong.sum()), float(off[~wrong].max(initial=0))


def run_client(number, options, stop, images, known, asks, retried, errors):
    random = np.random.default_rng(number)
    with Client(**options) as client:
        while not stop.is_set() and len(asks) < MOST_REQUESTS:
            chosen = random.integers(0, len(images), random.integers(1, 5))
            begun, before = time.monotonic(), client.retried.total()
            lost, mixed_up, furthest = 0, 0, 0.0
            try:
                found = client.embed([images[n] for n in chosen])
                lost = len(chosen) - len(found.valid)
                mixed_up, furthest = judge(found, chosen, *known)
            except (DataError, UsageError) as error:
                lost = len(chosen)
                errors.append(str(error))
            tries = client.retried.total() - before
            ended = time.monotonic()
            asks.append(Ask(begun, ended, len(chosen), lost, mixed_up, furthest, tries))
        retried.append(client.retried)


def summary(asks, retried, errors, outages, seconds):
    latency = np.array([ask.ended - ask.begun for ask in asks])
    calm = np.array([ask.retries == 0 for ask in asks])
    p50, p99 = np.percentile(latency, [50, 99])
    calm50, calm99 = np.percentile(latency[calm], [50, 99])
    recoveries = []
    for killed, listening in outages:
        after = [ask.ended for ask in asks if ask.ended > listening]
        through = [ask.ended for ask in asks if ask.begun < listening < ask.ended]
        recoveries.append(
            {
                "killed_at_s": killed,
                "down_s": listening - killed,
                "first_answer_after_start_s": min(after, default=np.nan) - listening,
                "calls_that_waited": len(through),
                "all_of_them_answered_after_start_s": max(through, default=listening)
                - listening,
            }
        )
    return {
        "seconds": seconds,
        "requests": len(asks),
        "images": sum(ask.images for ask in asks),
        "images_a_second": sum(ask.images for ask in asks) / seconds,
        "lost": sum(ask.lost for ask in asks),
        "mixed_up": sum(ask.mixed_up for ask in asks),
        "largest_difference": max(ask.furthest for ask in asks),
        "latency_ms": {"p50": 1e3 * p50, "p99": 1e3 * p99},
        "latency_ms_of_calls_without_retry": {"p50": 1e3 * calm50, "p99": 1e3 * calm99},
        "longest_s": float(latency.max()),
        "requests_sent_again": dict(sum(retried, collections.Counter())),
        "calls_with_retries": int((~calm).sum()),
        "errors": dict(collections.Counter(errors)),
        "outages": recoveries,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--rest_clients", type=int, default=16, help="of the clients")
    flags = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = export_tiny(place)
        images = known_set()
        known = known_answers(folder, images)
        assert int((~known[1]).sum()) == BROKEN
        gap = nearest_gap(*known)
        assert gap > 10 * TOLERANCE, "the images are too much alike to tell apart"
        double = Double(place, Path(place) / "double.log").start()
        try:
            found = stress(flags, double, images, known)
        finally:
            double.kill()
    found = {"clients": flags.clients, "least_gap_between_images": gap} | found
    print(json.dumps(rounded(found), indent=2))
    sys.exit(found["lost"] + found["mixed_up"] > 0)


def stress(flags, double, images, known):
    stop, asks = threading.Event(), []
    retried, errors, threads = [], [], []  # whose append needs no lock
    for number in range(flags.clients):
        protocol = "rest" if number < flags.rest_clients else "grpc"
        options = {
            "server": double.address(protocol),
            "model": MODEL,
            "protocol": protocol,
            "label": "stable",
            "concurrency": 1,
            "retries": 40,
            "total_timeout": 240,
        }
        arguments = (number, options, stop, images, known, asks, retried, errors)
        threads.append(threading.Thread(target=run_client, args=arguments))
    started = time.monotonic()
    end = started + 60 * flags.minutes
    for thread in threads:
        thread.start()
    outages = []
    for part in (1 / 3, 2 / 3):
        time.sleep(max(0, started + part * (end - started) - time.monotonic()))
        killed = time.monotonic()
        double.kill()
        time.sleep(KILLED_FOR)
        double.start()
        outages.append((killed, time.monotonic()))
    time.sleep(max(0, end - time.monotonic()))
    stop.set()
    for thread in threads:
        thread.join()
    seconds = time.monotonic() - started
    for ask in asks:
        ask.begun, ask.ended = ask.begun - started, ask.ended - started
    moved = [(killed - started, listening - started) for killed, listening in outages]
    return summary(asks, retried, errors, moved, seconds)


def rounded(value):
    if isinstance(value, dict):
        return {name: rounded(item) for name, item in value.items()}
    if isinstance(value, list):
        return [rounded(item) for item in value]
    return float(f"{value:.3g}") if isinstance(value, float) else value


if __name__ == "__main__":
    main()
