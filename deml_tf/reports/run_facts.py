"""What a run's figures depend on, and its scores and boxes by scale, as texts."""

from collections.abc import Mapping
from typing import Any

from deml_tf.reports import drawing, tables

MEASURES = {  # of object attention, and the headings of their columns
    "side": "box side",
    "side_deviation": "its deviation",
    "side_correlation": "correlation with the listed side",
    "iou": "IoU",
    "iou_of_centre": "IoU of a centred box",
    "entropy": "entropy of the saliency",
}


def _duration(seconds: Any) -> str:
    if not tables.finite(seconds):
        return tables.MISSING
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s"


def run_facts(
    results: Mapping[str, Any], environment: Mapping[str, Any]
) -> list[tuple[str, list[tuple[str, str]]]]:
    """Return headed lists of what the figures depend on, without empty ones."""
    model, train = results.get("model") or {}, results.get("train") or {}
    attention = results.get("object_attention") or {}
    spread = results.get("embedding") or {}
    share = attention.get("fallback_share")
    lists = {
        "Data": _flat({"data set": results.get("dataset")})
        + _flat(results.get("protocol") or {}),
        "Model": [
            ("name", model.get("name")),
            ("backbone", model.get("backbone")),
            ("input side, pixels", model.get("input_size")),
            ("scales I × learners J", _pair(model)),
            ("embedding", tables.number(model.get("embedding_dim"))),
            ("its variance, unseen classes", tables.number(spread.get("variance"))),
            (
                "its effective rank, unseen classes",
                tables.number(spread.get("effective_rank"), 1),
            ),
            ("parameters", tables.number(model.get("parameters"))),
            ("GMAC an image", tables.number(model.get("gmacs"), 2)),
            (
                "views without a region",
                f"{share:.1%}" if tables.finite(share) else None,
            ),
        ],
        "Training": [
            ("steps", tables.number(train.get("steps"))),
            ("best step", tables.number(train.get("best_step"))),
            ("time", _duration(train.get("seconds"))),
            ("images/s", tables.number(train.get("images_per_second"), 1)),
            ("seed", results.get("seed")),
        ],
        "Machine": [
            (name.replace("_", " "), value)
            for name, value in _flat(environment)
            if name != "platform"
        ],
    }
    kept = {
        heading: [
            (n, str(v)) for n, v in items if v not in (None, tables.MISSING, "None")
        ]
        for heading, items in lists.items()
    }
    return [(heading, items) for heading, items in kept.items() if items]


def _pair(model: Mapping[str, Any]) -> str | None:
    scales, learners = model.get("scales"), model.get("learners")
    return None if scales is None or learners is None else f"{scales} × {learners}"


def _flat(counts: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Flatten nested counts into one list; names are joined by blanks."""
    flat = []
    for key, value in counts.items():
        name = f"{prefix}{key}".replace("_", " ")
        if isinstance(value, Mapping):
            flat += _flat(value, "" if key == "packages" else f"{name} ")
        else:
            count = isinstance(value, int) and not isinstance(value, bool)
            flat.append((name, f"{value:,}" if count else value))
    return flat


def scale_facts(results: Mapping[str, Any]) -> dict[str, Any]:
    """Return scores, and what object attention found, scale by scale."""
    attention = results.get("object_attention") or {}
    per_scale = results.get("per_scale") or []
    columns = [
        column
        for column in tables.columns(per_scale)
        if any(column[0] in row for row in per_scale)
    ]
    means = [
        {
            "colour": drawing.hex(drawing.scale_colour(i)),
            "box": [f"{e:.2f}" if tables.finite(e) else tables.MISSING for e in box],
            "size": [
                f"{b - a:.0%}"
                if tables.finite(a) and tables.finite(b)
                else tables.MISSING
                for a, b in ((box[0], box[2]), (box[1], box[3]))
            ],
            "measures": [
                tables.number(_item(attention.get(key), i)) for key in _found(attention)
            ],
        }
        for i, box in enumerate(attention.get("mean_box") or [])
    ]
    return {
        "columns": [name for _, name in columns],
        "scores": [(row.get("scale"), tables.cells(row, columns)) for row in per_scale],
        "boxes": means,
        "measures": [MEASURES[key] for key in _found(attention)],
    }


def learner_facts(results: Mapping[str, Any]) -> dict[str, Any]:
    """Return what each learner finds alone, and how alike a scale's learners are."""
    found = results.get("learners") or {}
    recalls = found.get("recall_at_1") or []
    count = max(map(len, recalls), default=0)
    return {
        "columns": [f"R@1 of learner {j + 1}" for j in range(count)],
        "rows": [
            [
                *(tables.number(_item(row, j)) for j in range(count)),
                tables.number(_item(found.get("cosine"), i)),
                tables.number(_item(found.get("predictability"), i)),
            ]
            for i, row in enumerate(recalls)
        ]
        if count > 1
        else [],
    }


def _found(attention: Mapping[str, Any]) -> list[str]:
    """Return the measures that are present, in the order of the table."""
    return [key for key in MEASURES if attention.get(key) is not None]


def _item(values: Any, place: int) -> Any:
    """Return an entry of a list that may be short or missing."""
    return values[place] if values is not None and place < len(values) else None
