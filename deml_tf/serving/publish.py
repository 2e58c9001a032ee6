"""From an embedder to a version folder: write, run, compare, describe, publish."""

import contextlib
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from deml_tf.cli.command import console
from deml_tf.cli.printing import say
from deml_tf.errors import DataError
from deml_tf.models.cost import gmacs, parameters
from deml_tf.runs.json_text import json_text
from deml_tf.serving import (
    differences,
    extras,
    metadata,
    parity,
    proof_images,
    threshold,
    version_folder,
)
from deml_tf.serving.expected import Trained
from deml_tf.serving.formats import FORMATS, Format
from deml_tf.serving.fresh_run import where
from deml_tf.serving.model_card import CARD, is_whole, model_card
from deml_tf.serving.servable import Servable
from deml_tf.serving.source import Choice, Images, Source
from deml_tf.serving.trial import Trial


def publish(format_name: str, source: Source, choice: Choice, target: Path) -> None:
    """Export an embedder, and publish the export if it computes the same numbers.

    Args:
        format_name: One of `FORMATS`.
        source: What is exported.
        choice: How it is exported.
        target: The version's folder, which must not exist.

    Raises:
        DataError: The export differs from the embedder; nothing was published.
    """
    form = FORMATS[format_name]
    embedder = source.in_precision(choice.precision)
    images = source.read_images()
    servable = form.servable(embedder, choice.scales, choice.learners)
    unknown = _threshold(servable, source, choice, images)
    with version_folder.published(target) as folder:
        with step("converting" if form.file else "saving"):
            facts = form.write(servable, folder, choice)
        proof = proof_images.proof_images(images.encoded)
        trained = Trained(embedder, choice.scales, choice.learners)
        bound = parity.BOUNDS[choice.precision]
        trial, measured = _prove(form, folder, trained, proof, bound)
        lost = None
        if embedder is not source.embedder:
            lost = _lost_by_precision(source, trained, choice, proof)
        if form.measure and choice.quantize != "none":
            with step("measuring what 8 bits cost"):
                facts |= form.measure(servable, folder, trial, choice, images)
        if form.file:
            facts |= {"format": format_name, "runtime": extras.versions(form.extra)}
            facts["file_bytes"] = _sizes(folder)
        described = metadata.describe(
            servable,
            choice,
            version=int(target.name),
            threshold=unknown,
            parity=differences.as_json(measured),
            difference_from_trained_precision=lost,
            **facts,
            **_facts(source, servable),
        )
        place = folder if form.file else folder / version_folder.EXTRA
        place.mkdir(exist_ok=True)
        text = json_text(described, indent=2) + "\n"
        (place / metadata.FILE).write_bytes(text.encode())
        card = model_card(described, choice.licence, choice.over_seeds)
        (folder / CARD).write_bytes(card.encode())
    for name, size in facts.get("file_bytes", {}).items():
        say(f"{name}: {size / 1e6:.1f} MB")


@contextlib.contextmanager
def step(title: str) -> Iterator[None]:
    """Show the title of a step and, when it ends, how long it took.

    Args:
        title: What the step does.
    """
    started = time.monotonic()
    with console().status(f"{title} ..."):
        yield
    say(f"{title}: {time.monotonic() - started:.0f} s")


def _prove(
    form: Format, folder: Path, trained: Trained, proof: Sequence[bytes], bound: float
) -> tuple[Trial, list[differences.Difference]]:
    """Run what was written, and refuse it if it differs."""
    with step(f"running it in {where(form.runtimes)}, comparing"):
        trial = form.trial(trained, proof)
        measured = parity.hold_to_parity(
            folder / form.file, form.runtimes, trial, bound
        )
    console().print(differences.parity_table(measured))
    differences.require(measured)
    return trial, measured


def _facts(source: Source, servable: Servable) -> dict[str, Any]:
    """Return the run's facts, with size and cost of the parts that are kept."""
    found, core = source.facts(), servable.core
    model, side = found.get("model"), servable.geometry.input_size
    outputs: Any = servable.explaining_core.output
    if model and not is_whole(model, *outputs["parts"].shape[1:3]):
        cost = {"parameters": parameters(core), "gmacs": gmacs(core, side, side, 3)}
        found["model"] = model | cost
    return found


def _threshold(
    servable: Servable, source: Source, choice: Choice, images: Images
) -> dict[str, Any]:
    """Measure the threshold for "unknown"; its cosine is None if that is impossible.

    The reason is only printed, since it may name paths of this machine.
    """
    nothing = {"cosine": None, "reason": "the export had no images of held-out classes"}
    if not images.held_out or source.configs is None:
        say(f"No threshold: {images.why_none}.")
        return nothing
    try:
        return threshold.from_classes(
            servable,
            images.held_out,
            choice.false_accept_rate,
            source.configs.score.scoring_batch_size,
        )
    except DataError as error:
        say(f"No threshold: {error}")
        return nothing


def _lost_by_precision(
    source: Source, served: Trained, choice: Choice, proof: Sequence[bytes]
) -> dict[str, float]:
    """Measure and print what another precision than the trained one costs."""
    trained = Trained(source.embedder, choice.scales, choice.learners)
    lost = parity.precision_difference(trained, served, proof, choice.precision)
    say(
        f"{choice.precision} moves an embedding by {lost['largest_difference']:.2g} at "
        f"most (cosine {lost['smallest_cosine']:.4f})."
    )
    return lost


def _sizes(folder: Path) -> dict[str, int]:
    return {file.name: file.stat().st_size for file in sorted(folder.iterdir())}
