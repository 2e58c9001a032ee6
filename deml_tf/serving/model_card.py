"""The model card of an export: README.md, as the Hugging Face Hub reads it."""

import json
import re
from collections.abc import Mapping
from typing import Any

from deml_tf.studies.intervals import Estimate

CARD = "README.md"
_METRICS = {"r_precision": "R-precision", "map_at_r": "MAP@R", "nmi": "NMI"}
_CALLS = {
    "saved_model": """\
In Python:

```python
import tensorflow as tf

model = tf.saved_model.load("FOLDER")  # keep it: the signature alone does not
found = model.signatures["serving_default"](image_bytes=tf.constant([encoded]))
found["embedding"], found["valid"], found["boxes"]
```

`encoded` is the content of an image file. Under TensorFlow Serving the same signature
takes the same bytes; deml_tf's client (`python -m deml_tf.client`) sends whole folders.
Embeddings are compared by cosine.""",
    "litert": """\
A `.tflite` file takes prepared squares and runs in LiteRT; `deml.json` describes
inputs and outputs. Embeddings are compared by cosine.""",
    "onnx": """\
The `.onnx` file takes prepared squares and runs in ONNX Runtime; `deml.json` describes
inputs and outputs. Embeddings are compared by cosine.""",
}
_CROPS = (
    "- first crop each image to its object: the embedder was trained and scored on "
    "such crops, which the export does not make"
)


def model_card(
    about: Mapping[str, Any],
    licence: str | None = None,
    over_seeds: Mapping[str, Estimate] | None = None,
) -> str:
    """Write the card of an export.

    Args:
        about: The content of its deml.json.
        licence: Licence of the weights, as the Hub names it ("apache-2.0"); None, the
            default, if none is named.
        over_seeds: Means of the same training over seeds, by name of the score; None,
            the default, for the scores of the run alone.

    Returns:
        Markdown with a header in YAML.
    """
    model, test = about.get("model") or {}, about.get("test") or {}
    title = f"{about['name']}, version {about['version']}"
    parts = [
        _header(about, licence, test),
        f"# {title}",
        _what(about, model),
        "## Use",
        _CALLS[about.get("format", "saved_model")],
        "## Scores",
        _scores(about, test, over_seeds),
        "## Preprocessing",
        _preprocessing(about["preprocessing"], about.get("crop_to_box", False)),
    ]
    unknown = _threshold(about.get("threshold") or {})
    if unknown:
        parts += ["## Unknown images", unknown]
    if about.get("int8"):
        parts += ["## In 8 bits", _int8(about["int8"])]
    parts += ["## Origin", _origin(about, licence)]
    return "\n\n".join(parts) + "\n"


def is_whole(model: Mapping[str, Any], scales: int, learners: int) -> bool:
    """Tell whether an export holds all scales and learners that were trained.

    Args:
        model: Facts of the trained embedder, from its run's results.
        scales: Number of scales of the export.
        learners: Number of learners of each of its scales.
    """
    trained = model.get("scales", scales), model.get("learners", learners)
    return trained == (scales, learners)


def _header(
    about: Mapping[str, Any], licence: str | None, test: Mapping[str, Any]
) -> str:
    """Return the YAML that the Hub reads; JSON values are YAML too."""
    tags = ["image-retrieval", "metric-learning", "zero-shot", "tensorflow", "keras"]
    lines = [
        "library_name: deml_tf",
        "pipeline_tag: image-feature-extraction",
        f"tags: {json.dumps(tags)}",
    ]
    if licence:
        lines.append(f"license: {json.dumps(licence)}")
    metrics = [
        {"type": key, "name": name, "value": test[key]}
        for key, name in _metrics(test).items()
    ]
    # Parts of the embedder, other arithmetic and uncropped images were not scored.
    changes = ("difference_from_trained_precision", "int8", "crop_to_box")
    changed = any(about.get(name) for name in changes)
    if metrics and _has_all_parts(about) and not changed:
        dataset = _dataset(about)
        result = {
            "task": {"type": "image-retrieval", "name": "zero-shot image retrieval"},
            "dataset": {"type": dataset, "name": f"{dataset}, unseen classes"},
            "metrics": metrics,
        }
        index = [{"name": about["name"], "results": [result]}]
        lines.append(f"model-index: {json.dumps(index)}")
    return "\n".join(["---", *lines, "---"])


def _metrics(test: Mapping[str, Any]) -> dict[str, str]:
    """Return the names of the existing scores by their keys, recalls first."""
    found = (re.fullmatch(r"recall_at_(\d+)", key) for key in test)
    ranks = sorted(int(match[1]) for match in found if match)
    names = {f"recall_at_{rank}": f"Recall@{rank}" for rank in ranks} | _METRICS
    return {key: name for key, name in names.items() if test.get(key) is not None}


def _has_all_parts(about: Mapping[str, Any]) -> bool:
    parts = about["embedding"]["parts"]
    return is_whole(about.get("model") or {}, parts["scales"], parts["learners"])


def _dataset(about: Mapping[str, Any]) -> str:
    return (about.get("dataset") or {}).get("kind") or "unknown"


def _what(about: Mapping[str, Any], model: Mapping[str, Any]) -> str:
    embedding = about["embedding"]
    text = (
        f"An image embedder of {embedding['size']} numbers, trained with deml_tf so "
        "that images of classes which it has never seen are found by their nearest "
        "neighbours."
    )
    facts = []
    if model.get("name"):
        part = "" if _has_all_parts(about) else "a part of "
        backbone = model.get("backbone", "its backbone")
        facts.append(f"{part}{model['name']} on {backbone}")
    if model.get("parameters"):
        facts.append(f"{model['parameters'] / 1e6:.1f} million parameters")
    if model.get("gmacs"):
        facts.append(f"{model['gmacs']:.2g} GMAC an image")
    facts.append(f"{about['precision']} arithmetic")
    parts = embedding["parts"]
    kept = f"scales kept: {parts['scales']}; learners of each: {parts['learners']}"
    return f"{text} {', '.join(facts)}; {kept}."


def _scores(
    about: Mapping[str, Any],
    test: Mapping[str, Any],
    over_seeds: Mapping[str, Estimate] | None,
) -> str:
    rows = _metrics(test)
    if not rows:
        return "None: the embedder was exported without its run."
    protocol = about.get("protocol") or {}
    text = f"On the {_dataset(about)} data set, on classes not seen in training"
    if protocol.get("test_images"):
        text += (
            f" ({protocol['test_images']} images of {protocol['test_classes']} classes)"
        )
    text += ". They are of the whole embedder, scored once, after training."
    head = ["| score | this run |", "|---|---|"]
    if over_seeds:
        head = [
            "| score | this run | mean over seeds, 95 % interval |",
            "|---|---|---|",
        ]
    lines = [text, "", *head]
    for key, name in rows.items():
        line = f"| {name} | {test[key]:.3f} |"
        if over_seeds:
            line += f" {_interval(over_seeds.get(key))} |"
        lines.append(line)
    return "\n".join(lines)


def _interval(found: Estimate | None) -> str:
    if found is None:
        return ""
    if found.low is None:
        return f"{found.mean:.3f} (one seed)"
    return f"{found.mean:.3f}, {found.low:.3f} to {found.high:.3f} ({found.n} seeds)"


def _preprocessing(found: Mapping[str, Any], are_crops: bool) -> str:
    lines = [f"- {key.replace('_', ' ')}: {value}" for key, value in found.items()]
    if are_crops:
        lines.insert(0, _CROPS)
    return "\n".join(lines)


def _threshold(found: Mapping[str, Any]) -> str:
    if found.get("cosine") is None:
        return ""
    known = found["true_accept_rate"]  # None if each image was alone in its class
    also = "" if known is None else f", and {100 * known:.3g} % of those that it holds"
    return (
        f"An image whose nearest neighbour has a cosine below {found['cosine']:.4f} is "
        f"called unknown: {100 * found['measured_false_accept_rate']:.3g} % of images "
        f"of classes that the gallery does not hold pass this threshold{also}. "
        f"It depends on {found['depends_on']}."
    )


def _int8(found: Mapping[str, Any]) -> str:
    """Say what the file with rounded weights loses, and its own threshold."""
    text = (
        "`model_int8.tflite` has weights of 8 bits; all else here is of "
        "`model.tflite`. Its embeddings have a cosine with the others of at least "
        f"{found['smallest_cosine']:.4f}."
    )
    if "map_at_r" in found:
        exact, rounded = (found["map_at_r"][name] for name in ("float32", "int8"))
        text += (
            f" Of {found['images']} images of {found['classes']} classes held out of "
            f"training, MAP@R is {rounded:.3f}, and {exact:.3f} in float32."
        )
    own = _threshold(found.get("threshold") or {})
    return f"{text} {own}".rstrip()


def _origin(about: Mapping[str, Any], licence: str | None) -> str:
    made = about["made_with"]
    versions = ", ".join(f"{name} {v}" for name, v in made["packages"].items())
    lines = [
        f"- exported {about['exported']} with Python {made['python']}, {versions}",
        f"- SHA-256 of the weights: `{about['weights_sha256']}`",
        "- before it was published, the export was run in a process of its own, and "
        "its numbers were compared with the trainer's",
        f"- licence of the weights: {licence or 'not named; ask who trained them'}",
        "- method: Chen & Deng, Hybrid-Attention based Decoupled Metric Learning for "
        "Zero-Shot Image Retrieval, CVPR 2019, arXiv:1907.11832",
    ]
    return "\n".join(lines)
