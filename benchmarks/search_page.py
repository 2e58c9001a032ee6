"""The search page under load: 32 clients for a minute, every answer checked.

    python -m benchmarks.search_page --index=INDEX --export=EXPORT

Starts `deml_tf.search --serve` on a free port of this machine. Each client keeps
asking without a pause: it uploads an indexed image to the JSON API, which must answer
with that image itself, or it asks by a row, or for a page, an image or a thumbnail. It
prints how long each kind of request took, and how many failed or had a wrong answer.
Most of the time of an upload is that of the embedder, which shares the cores with the
clients.
"""

import statistics
import subprocess
import sys
import threading
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import requests
from absl import app, flags

from deml_tf.training.worker_processes import free_addresses

FLAGS = flags.FLAGS
SAME, START = 1 - 1e-4, 300  # least cosine of an image to itself; seconds


class Client:
    """Asks until told to stop, and records what it got.

    Attributes:
        seconds: Times of the requests that were answered correctly, by kind.
        failures: What was wrong with the others.
    """

    def __init__(self, url: str, paths: dict[int, str], seed: int) -> None:
        """Ask at an address for the images of an index, by their rows."""
        self.url, self.paths, self.rows = url, paths, [*paths]
        self.draws = np.random.default_rng(seed)
        self.session = requests.Session()
        self.seconds: dict[str, list[float]] = defaultdict(list)
        self.failures: list[str] = []
        self.kinds = {
            "upload": self._upload,
            "row": self._row,
            "page": lambda row: self._get(f"/similar?row={row}", b"<html"),
            "image": lambda row: self._get(f"/image/{row}", b"", self.paths[row]),
            "thumbnail": lambda row: self._get(f"/thumbnail/{row}", b"\xff\xd8"),
        }

    def run(self, stop: threading.Event) -> None:
        """Send one request after the other."""
        while not stop.is_set():
            kind = str(self.draws.choice([*self.kinds]))
            row = int(self.draws.choice(self.rows))
            began = time.perf_counter()
            try:
                fault = self.kinds[kind](row)
            except (requests.RequestException, ValueError, LookupError) as error:
                fault = repr(error)
            if fault:
                self.failures.append(f"{kind} of row {row}: {fault}")
            else:
                self.seconds[kind].append(time.perf_counter() - began)

    def _upload(self, row: int) -> str:
        """Check that the image itself is among the five nearest, with a cosine of 1."""
        body = Path(self.paths[row]).read_bytes()
        answer = self.session.post(f"{self.url}/api/search?k=5", body, timeout=60)
        answer.raise_for_status()
        results = answer.json()["results"]
        own = [each["cosine"] for each in results if each["row"] == row]
        if own and own[0] >= SAME and len(results) == 5:
            return ""
        return f"it has a cosine of {own} among {results}"

    def _row(self, row: int) -> str:
        """Check that the image itself is left out."""
        asked = {"row": row, "k": 5}
        answer = self.session.post(f"{self.url}/api/search", json=asked, timeout=60)
        answer.raise_for_status()
        found = [each["row"] for each in answer.json()["results"]]
        return "" if len({*found} - {row}) == 5 else f"found {found}"

    def _get(self, place: str, start: bytes, path: str = "") -> str:
        """Check that `start` is in the first 200 bytes, or the file is `path`."""
        answer = self.session.get(self.url + place, timeout=60)
        answer.raise_for_status()
        if path:
            return "" if answer.content == Path(path).read_bytes() else "another file"
        return "" if start in answer.content[:200] else f"{answer.content[:50]!r}"


def wait_until_up(url: str, server: subprocess.Popen) -> None:
    """Wait until the page answers."""
    for _ in range(START):
        if server.poll() is not None:
            raise SystemExit(f"deml_tf.search ended with status {server.returncode}")
        try:
            requests.get(url, timeout=5).raise_for_status()
        except requests.ConnectionError:
            time.sleep(1)
        else:
            return
    raise SystemExit(f"deml_tf.search did not answer within {START} s")


def main(_: list[str]) -> None:
    """Start the page, ask, and print."""
    rows = pq.read_table(Path(FLAGS.index) / "rows.parquet", columns=["id", "path"])
    paths = dict(zip(*(rows[name].to_pylist() for name in ("id", "path")), strict=True))
    (address,) = free_addresses(1)
    url = f"http://{address}"
    command = [sys.executable, "-m", "deml_tf.search", f"--index={FLAGS.index}"]
    command += [f"--export={FLAGS.export}", f"--serve={address}"]
    server = subprocess.Popen(command)
    try:
        wait_until_up(url, server)
        clients = [Client(url, paths, seed) for seed in range(FLAGS.clients)]
        stop = threading.Event()
        with ThreadPoolExecutor(FLAGS.clients) as pool:
            asking = [pool.submit(client.run, stop) for client in clients]
            stop.wait(FLAGS.seconds)
            stop.set()
        for each in asking:
            each.result()
    finally:
        server.terminate()
        server.wait()
    answered = 0
    for kind in clients[0].kinds:
        times = sorted(s for client in clients for s in client.seconds[kind])
        answered += len(times)
        if times:
            print(
                f"{kind}: {len(times):,} answered, "
                f"{1e3 * statistics.median(times):.0f} ms (median), "
                f"{1e3 * times[int(0.99 * len(times))]:.0f} ms (99th percentile)"
            )
    failures = [failure for client in clients for failure in client.failures]
    print(
        f"{FLAGS.clients} clients, {FLAGS.seconds:.0f} s: {answered:,} requests "
        f"answered, {len(failures)} lost or wrong"
    )
    for failure in failures[:10]:
        print(f"  {failure}")


if __name__ == "__main__":
    flags.DEFINE_string(
        "index", None, "Folder that deml_tf.index has written.", required=True
    )
    flags.DEFINE_string(
        "export", None, "Export that embedded the images of the index.", required=True
    )
    flags.DEFINE_integer(
        "clients", 32, "Number of clients that search at the same time."
    )
    flags.DEFINE_float("seconds", 60.0, "Duration of the searches, in seconds.")
    app.run(main)
