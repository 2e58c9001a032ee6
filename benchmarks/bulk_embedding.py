"""Bulk embedding at size: speed, memory, and what kills do to the files.

    python -m benchmarks.bulk_embedding --export=EXPORT --images=FOLDER --work=DIR

Gives the images of FOLDER new names in DIR until there are `--count` of them, and has
`deml_tf.embed` embed 1,000 of them, then all, then all again while it is killed twice.
It prints images a second beside those of the export called on bytes in memory (which it
calls before and after), the largest resident memory, and whether the files are the
same.
"""

import filecmp
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from absl import app, flags

from deml_tf.bulk.listed_images import list_images
from deml_tf.bulk.served_export import ServedExport, read_export

FLAGS = flags.FLAGS
FEW, BATCH, IN_MEMORY = 1000, 32, 3200
KILLED_AT = (1 / 3, 2 / 3)  # shares of the shards


def name_anew(images: list[Path], folder: Path, count: int) -> None:
    """Link images under new names, a folder for each thousand."""
    for number in range(count):
        link = folder / f"{number // 1000:04d}" / f"{number:06d}.jpg"
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(images[number % len(images)].resolve())


def begin(images: Path, output: Path) -> subprocess.Popen:
    """Start `deml_tf.embed`."""
    given = [f"--export={FLAGS.export}", f"--images={images}", f"--output={output}"]
    given += [f"--batch_size={BATCH}", f"--shard_size={FLAGS.shard_size}"]
    command = [sys.executable, "-m", "deml_tf.embed", *given]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL)


def whole(images: Path, output: Path) -> tuple[float, float]:
    """Embed without interruption; return seconds and the peak memory in MiB."""
    began = time.perf_counter()
    process = begin(images, output)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"deml_tf.embed ended with status {process.returncode}")
    return time.perf_counter() - began, usage.ru_maxrss / 1024


def shards(output: Path) -> int:
    """Count the complete shards."""
    return len(list(output.glob("shard_*.parquet")))


def killed(images: Path, output: Path, total: int) -> list[int]:
    """Embed, killed twice; return the numbers of shards at each kill."""
    found = []
    for share in KILLED_AT:
        process = begin(images, output)
        while process.poll() is None and shards(output) < share * total:
            time.sleep(0.2)
        process.send_signal(signal.SIGKILL)
        process.wait()
        found.append(shards(output))
    whole(images, output)
    return found


def bare(encoded: list[bytes]) -> float:
    """Return images per second of the export called on bytes in memory."""
    served = ServedExport(read_export(FLAGS.export))
    served(encoded[:BATCH])
    began = time.perf_counter()
    for start in range(0, len(encoded), BATCH):
        served(encoded[start : start + BATCH])
    return len(encoded) / (time.perf_counter() - began)


def main(_: list[str]) -> None:
    """Measure, and print."""
    work, count = Path(FLAGS.work), FLAGS.count
    images = [Path(image.path) for image in list_images(FLAGS.images)]
    for name, number in (("few", FEW), ("all", count)):
        shutil.rmtree(work / name, ignore_errors=True)
        shutil.rmtree(work / f"{name}_embedded", ignore_errors=True)
        name_anew(images, work / name, number)
    shutil.rmtree(work / "killed", ignore_errors=True)
    small = whole(work / "few", work / "few_embedded")[1]
    print(f"{FEW:,} images: peak {small:,.0f} MiB", flush=True)
    alone = [bare([image.read_bytes() for image in images[:IN_MEMORY]])]
    seconds, large = whole(work / "all", work / "all_embedded")
    alone.append(bare([image.read_bytes() for image in images[:IN_MEMORY]]))
    rate = count / seconds
    print(
        f"{count:,} images: {seconds:,.0f} s, {rate:.1f} images a second with the "
        f"start, peak {large:,.0f} MiB, {large / small:.3f} of that of {FEW:,}",
        flush=True,
    )
    print(
        f"the export alone, images in memory: {alone[0]:.1f} images a second before, "
        f"{alone[1]:.1f} after; the command has {2 * rate / sum(alone):.1%} of that",
        flush=True,
    )
    total = shards(work / "all_embedded")
    after = killed(work / "all", work / "killed", total)
    names = sorted(path.name for path in (work / "all_embedded").iterdir())
    same, other, broken = filecmp.cmpfiles(
        work / "all_embedded", work / "killed", names, shallow=False
    )
    print(
        f"killed after {after} of {total} shards: {len(same)} files the same, "
        f"{other + broken or 'none'} not"
    )


if __name__ == "__main__":
    flags.DEFINE_string("export", None, "Version folder of an export.", required=True)
    flags.DEFINE_string("images", None, "Folder of images.", required=True)
    flags.DEFINE_string("work", None, "Folder to work in.", required=True)
    flags.DEFINE_integer("count", 60_000, "Number of images to embed.")
    flags.DEFINE_integer(
        "shard_size", 4096, "Number of images in each file of embeddings."
    )
    app.run(main)
