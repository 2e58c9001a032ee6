"""Draw Plumage, a fine-grained benchmark of invented birds, and write it to disk.

There are two hundred species with thirty images each, drawn from a seed. The result is
an ordinary image folder with masks, and a list with boxes and attributes, from which it
is read.

    images/017.Yellow_crowned_Violet_Kingfisher/05.jpg
    masks/017.Yellow_crowned_Violet_Kingfisher/05.png    the visible bird, 1 bit
    annotations.csv    path,label,x,y,w,h and a column for each attribute
    plumage.json       the settings it was drawn with; written last
"""

import contextlib
import csv
import json
import multiprocessing
import os
from collections.abc import Callable, Generator
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import partial
from pathlib import Path

import numpy as np

from deml_tf.cli.progress import track
from deml_tf.data.plumage.render import draw_image
from deml_tf.data.plumage.species import ATTRIBUTES, Species, choose_species
from deml_tf.errors import DataError, UsageError
from deml_tf.runs.hidden_folder import hidden_folder
from deml_tf.runs.mount_point import refuse_mount_point
from deml_tf.runs.replaced_folder import kept_beside

VERSION = 1  # of the drawings: raise it with any change of a pixel
_RECORD = "plumage.json"
_WORTH_A_WORKER = 600  # images drawn in the time in which another worker starts
_Row = tuple[str | int, ...]


def write_plumage(
    directory: str | os.PathLike[str],
    seed: int = 0,
    size: int = 160,
    species: int = 200,
    images: int = 30,
    workers: int | None = None,
    view: float = 1.0,
) -> Path:
    """Draw Plumage into a folder, unless it is there.

    Every image has random numbers of its own, keyed by seed, species and image. So it
    depends neither on the number of workers nor on how much else is drawn. Everything
    is drawn into a hidden folder beside `directory`, which is renamed at the end: a
    process that is killed leaves no `directory` behind, and the next one removes what
    it left. Workers are spawned, so a script that calls this function needs the usual
    `if __name__ == "__main__":`.

    Args:
        directory: A new or empty folder, or one that already holds this very set.
        seed: Seed of species and images, 0 or more.
        size: Side of the square images with a view of 1, pixels, at least 32.
        species: Number of classes, 1 to 999.
        images: Number of images of each class, 1 to 99.
        workers: Number of processes; 1 draws in this process. By default one for each
            core, or fewer for a small set.
        view: How wide a view the images show, 1 to 4. At 2 they have twice as many
            pixels a side; the birds keep theirs, and so take half the share of a side.

    Returns:
        The folder.

    Raises:
        UsageError: An argument is out of range, or the folder holds something else, or
            is a mount point.
        DataError: The file `plumage.json` of the folder cannot be read; or the folder
            could not be replaced in the end, and the new one is beside it.
    """
    _check(workers, seed, size, species, images, view)
    wanted = {
        "version": VERSION,
        "seed": seed,
        "size": size,
        "species": species,
        "images": images,
        "view": view,
    }
    directory = Path(directory)
    if _is_finished(directory, wanted):
        return directory
    target = directory.resolve()
    refuse_mount_point(target)
    with hidden_folder(target) as work:
        rows = _draw_all(
            work, choose_species(species, seed), images, size, seed, workers, view
        )
        with (work / "annotations.csv").open("w", newline="", encoding="utf-8") as file:
            table = csv.writer(file, lineterminator="\n")
            table.writerow(("path", "label", "x", "y", "w", "h", *ATTRIBUTES))
            table.writerows(rows)
        (work / _RECORD).write_text(json.dumps(wanted, indent=2) + "\n")
        if not _is_finished(target, wanted):  # another process may have been faster
            with kept_beside(work, target):
                if target.exists():
                    target.rmdir()
                work.rename(target)
    return directory


def _check(
    workers: int | None, seed: int, size: int, species: int, images: int, view: float
) -> None:
    for name, value, low, high in (
        ("seed", seed, 0, 2**32 - 1),
        ("size", size, 32, 1024),
        ("species", species, 1, 999),
        ("images", images, 1, 99),
        ("workers", 1 if workers is None else workers, 1, 1024),
        ("view", view, 1, 4),
    ):
        if not low <= value <= high:
            raise UsageError(f"{name}={value} is out of range: choose {low} to {high}.")


def _is_finished(directory: Path, wanted: dict[str, float]) -> bool:
    """Tell whether the wanted set is there; refuse any other content."""
    if not directory.exists():
        return False
    record = directory / _RECORD
    if not record.is_file():
        if not directory.is_dir() or any(directory.iterdir()):
            raise UsageError(
                f"{directory} holds something that is not Plumage: "
                "name a new or empty folder to draw it in."
            )
        return False
    try:
        found = {"view": 1, **json.loads(record.read_text())}  # earlier sets had none
        if "pictures" in found:  # the name of images in earlier versions
            found["images"] = found.pop("pictures")
    except (ValueError, TypeError) as error:
        raise DataError(
            f"{record} cannot be read: remove {directory} and draw it again."
        ) from error
    if found != wanted:
        differences = ", ".join(
            f"{key}={found.get(key)} rather than {value}"
            for key, value in wanted.items()
            if found.get(key) != value
        )
        raise UsageError(
            f"{directory} holds Plumage drawn with {differences or 'unknown options'}: "
            "name another folder, or remove this one to draw it again."
        )
    return True


def _draw_all(
    folder: Path,
    species: list[Species],
    images: int,
    size: int,
    seed: int,
    workers: int | None,
    view: float,
) -> list[_Row]:
    """Draw all images, and return the rows of the list in order."""
    job = partial(
        _draw_species, str(folder), images=images, size=size, seed=seed, view=view
    )
    if workers is None:
        cores = len(os.sched_getaffinity(0))
        workers = min(cores, 1 + len(species) * images // _WORTH_A_WORKER)
    workers = min(workers, len(species))
    rows: list[_Row] = []
    with contextlib.closing(_run(job, species, workers)) as drawn:
        for done in track(drawn, "Drawing Plumage", len(species) * images, size=len):
            rows.extend(done)
    return sorted(rows)


def _run(
    job: Callable[[Species], list[_Row]], species: list[Species], workers: int
) -> Generator[list[_Row], None, None]:
    if workers == 1:
        yield from map(job, species)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context) as pool:
        try:
            for future in as_completed([pool.submit(job, one) for one in species]):
                yield future.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _draw_species(
    folder: str, species: Species, *, images: int, size: int, seed: int, view: float
) -> list[_Row]:
    """Draw images and masks of one species, and return its rows of the list."""
    image_folder = Path(folder, "images", species.label)
    masks = Path(folder, "masks", species.label)
    image_folder.mkdir(parents=True)
    masks.mkdir(parents=True)
    rows: list[_Row] = []
    for k in range(1, images + 1):
        rng = np.random.default_rng([seed, species.number, k])
        image = draw_image(species, round(view * size), rng, view)
        path = image_folder / f"{k:02d}.jpg"
        image.image.save(path, quality=92, subsampling=0)
        image.mask.save(masks / f"{k:02d}.png")
        place = path.relative_to(folder).as_posix()
        rows.append((place, species.label, *image.box, *species.code))
    return rows
