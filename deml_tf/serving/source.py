"""The source of an export (embedder, run, data set) and the choices made for it."""

import dataclasses
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import keras

from deml_tf.config import Configs
from deml_tf.data.example import Example
from deml_tf.data.object_crops import crop_to_boxes
from deml_tf.data.scan import find_bad
from deml_tf.data.selection import run_split
from deml_tf.data.splits import Split
from deml_tf.errors import DataError, UsageError
from deml_tf.models.load import load_embedder
from deml_tf.models.parts import precision_of, with_precision
from deml_tf.runs.finished import open_finished
from deml_tf.runs.folder import RunFolder
from deml_tf.serving.proof_images import drawn_images, stored_images
from deml_tf.studies.intervals import Estimate

_COUNT = 8  # encoded images to try an export on


class Images(NamedTuple):
    """Images of a run's data set, if it is at hand.

    Attributes:
        encoded: A few images as stored, or drawn ones instead; to try an export on,
            never to be kept in it.
        held_out: Examples of the validation classes, which were not trained on.
        why_none: Why there are no held-out examples; empty if there are.
    """

    encoded: list[bytes]
    held_out: Sequence[Example]
    why_none: str


@dataclasses.dataclass(frozen=True)
class Choice:
    """How an embedder is exported.

    Attributes:
        name: The model's name on the server.
        scales: Scales to keep, sorted, from 0.
        learners: Learners to keep, sorted, from 0.
        precision: Arithmetic of the backbones, "float32" or "bfloat16".
        quantize: "none" or "dynamic_int8".
        false_accept_rate: Share of unknown images that the threshold lets pass.
        warmup_requests: Number of warm-up requests of each batch size.
        licence: Licence of the weights, for the model card; None if none is named.
        over_seeds: Scores of a study, for the model card; None without a study.
    """

    name: str
    scales: tuple[int, ...]
    learners: tuple[int, ...]
    precision: str = "float32"
    quantize: str = "none"
    false_accept_rate: float = 0.01
    warmup_requests: int = 0
    licence: str | None = None
    over_seeds: Mapping[str, Estimate] | None = None


@dataclasses.dataclass(frozen=True)
class Source:
    """What is exported.

    Attributes:
        name: The model's name on the server, unless another is chosen.
        embedder: The trained embedder with all its parts.
        run: The run it comes from, if it is known.
        configs: The run's settings.
    """

    name: str
    embedder: keras.Model
    run: RunFolder | None = None
    configs: Configs | None = None

    def in_precision(self, precision: str) -> keras.Model:
        """Return the embedder in a precision, see `with_precision`.

        Args:
            precision: "float32" or "bfloat16".

        Raises:
            UsageError: An embedder without its run would have to change its precision.
        """
        if self.configs is not None:
            return with_precision(self.embedder, self.configs.model, precision)
        found = precision_of(self.embedder)
        if precision != found:
            raise UsageError(
                f"precision={precision} needs run_dir=FOLDER: an embedder by itself, "
                f"this one in {found}, does not tell how it was built."
            )
        return self.embedder

    def read_images(self) -> Images:
        """Read the run's data set, or draw images if it is not at hand."""
        split, why_none = self._read_split()
        seen, held_out = (), ()
        if split is not None:
            seen, held_out = split.train, split.validation
        if split is not None and not held_out:
            why_none = (
                "the run held no classes out (train with validation_classes=0.1); "
                "images of classes trained on would give a threshold too high"
            )
        stored = stored_images(held_out or seen, _COUNT)
        return Images(stored or drawn_images(_COUNT), held_out, why_none)

    def facts(self) -> dict[str, Any]:
        """Return the model and the scores from the run's results, for deml.json.

        No path of this machine is among them: exports are given away.
        """
        if self.run is None or self.configs is None:
            return {"model": None, "dataset": None, "protocol": None, "test": None}
        results = self.run.read_json("results.json")
        # The scores are those of the whole embedder in the precision of its training.
        facts = {name: results.get(name) for name in ("protocol", "test")}
        model, dataset = results.get("model") or {}, results.get("dataset") or {}
        if "backbone" in model:  # "vit:FOLDER" keeps only the folder's name
            model = model | {"backbone": re.sub(r"[^:]*/", "", model["backbone"])}
        return facts | {
            "model": model,
            "dataset": {"kind": dataset.get("kind")},
            "crop_to_box": self.configs.data.crop_to_box,
            "run": self.run.path.resolve().name,
        }

    def _read_split(self) -> tuple[Split | None, str]:
        """Read the split; None and the reason if the data set is not at hand."""
        if self.configs is None or self.run is None:
            return None, (
                "an embedder by itself has no data set (export its run, with "
                "run_dir=FOLDER)"
            )
        data = self.configs.data
        recorded = self.run.split_path.exists()
        there = os.path.exists(os.path.expanduser(data.data_dir or "."))
        if not recorded and not there:
            # Stop here, since Plumage would be drawn anew.
            return None, (
                f"the run's data set is not at {data.data_dir} (put it there, and "
                "start the export in the folder in which the training was started)"
            )
        try:
            split = run_split(self.run.split_path, data, self.configs.train.seed)
            bad = find_bad([example.path for example in split.validation])
            for path, reason in bad.items():
                return None, f"{path} of the run's data set cannot be read ({reason})"
            return crop_to_boxes(split, data), ""
        except (DataError, UsageError) as error:
            return None, f"the run's data set cannot be read ({error})"


def read_source(run_dir: str | None, embedder: str | None) -> Source:
    """Load a finished run's embedder, or an embedder by itself.

    Args:
        run_dir: The run's folder, or None.
        embedder: An `embedder.keras`, or None.

    Raises:
        UsageError: Both or neither are given, or the run is not finished.
        DataError: What is there cannot be read.
    """
    if bool(run_dir) == bool(embedder):
        raise UsageError("Give either run_dir=FOLDER, or embedder=FILE.keras.")
    if embedder:
        return Source(Path(embedder).stem, load_embedder(embedder))
    run, configs = open_finished(str(run_dir))
    name = run.path.resolve().name
    return Source(name, load_embedder(run.embedder_path), run, configs)
