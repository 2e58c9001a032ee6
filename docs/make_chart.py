"""Draw the chart of docs/evidence.md from the records of the studies.

    python docs/make_chart.py

writes docs/images/evidence.png: by how much each variant exceeds U512 in Recall@1 on
unseen classes, seed by seed, on each data set. Behind its name is its cost in use, in
those of U512.
"""

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from deml_tf.reports.charts import in_default_style
from deml_tf.studies.intervals import Estimate, paired_difference
from deml_tf.studies.records import read_records

DOCS = Path(__file__).parent
REFERENCE, SCORE = "u512", "recall_at_1"
CONTROL, DEML, BOUND = "#6b7280", "#c2410c", "#1d4ed8"  # kinds of row
STUDIES = {
    "attention_photos": "photographs",
    "attention_scenes": "scenes",
    "plumage_attention": "small drawn birds",
}
# Label, colour, and what a study may call it.
ROWS = [
    ("U512, 272 pixels", CONTROL, ["u512_272_pixels"]),
    ("U512, three times the steps", CONTROL, ["u512_steps_x3"]),
    ("three networks, whole image", CONTROL, ["u512_x3"]),
    ("three scales, crops of the middle", CONTROL, ["centre_crops", "centre_3"]),
    ("DeML(3,1), walk", DEML, ["walk_3", "deml_3_1"]),
    ("DeML(3,1), separation", DEML, ["separation_3", "deml_3_1_separation"]),
    ("DeML(3,3), walk, no decoupling", DEML, ["deml_3_3_none"]),
    ("DeML(3,3), walk, hinge", DEML, ["deml_3_3_hinge"]),
    ("DeML(3,3), walk, adversary", DEML, ["deml_3_3_adversary"]),
    ("U512, the listed boxes", BOUND, ["listed_boxes"]),
]


def values_of(study: str, number: str) -> list[dict[int, float]]:
    """Return a number of each row by seed, and last that of U512; {} without a run."""
    values: dict[str, dict[int, float]] = {}
    records = read_records(DOCS / "studies" / study / "study.json")
    for (variant, seed), record in records.items():
        values.setdefault(variant, {})[seed] = record.numbers[number]
    return [
        next((values[name] for name in names if name in values), {})
        for names in (*(names for _, _, names in ROWS), [REFERENCE])
    ]


def differences(study: str) -> list[Estimate | None]:
    """Return the paired difference to U512 of each row; None where it has no seed."""
    *rows, reference = values_of(study, SCORE)
    return [paired_difference(own, reference) for own in rows]


def costs() -> list[float]:
    """Return how many times the GMAC of U512 a row has, where all rows were trained."""
    *rows, reference = values_of("plumage_attention", "gmacs")
    return [own[0] / reference[0] for own in rows]


def draw(axes: Axes, found: list[Estimate | None]) -> None:
    """Draw a mean for each row, and its 95 % interval where there is one."""
    axes.axvline(0, color="black", linewidth=1)
    for place, (difference, (_, colour, _)) in enumerate(zip(found, ROWS, strict=True)):
        if difference is None:
            continue
        axes.plot(difference.mean, place, "o", color=colour, markersize=6)
        if difference.low is not None:
            ends = [difference.low, difference.high]
            axes.plot(ends, [place] * 2, color=colour, linewidth=2, alpha=0.6)
    axes.grid(axis="x", alpha=0.2)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.margins(x=0.08)


@in_default_style
def main() -> None:
    """Draw a panel for each data set."""
    figure = Figure(figsize=(10.5, 3.6), layout="constrained")
    panels = figure.subplots(1, len(STUDIES), sharey=True)
    for axes, (study, title) in zip(panels, STUDIES.items(), strict=True):
        draw(axes, differences(study))
        axes.set_title(title, fontsize=10)
    labels = [
        f"{label} ({cost:.1f}×)"
        for (label, _, _), cost in zip(ROWS, costs(), strict=True)
    ]
    panels[0].set_yticks(range(len(ROWS)), labels)
    panels[0].set_ylim(len(ROWS) - 0.5, -0.5)
    figure.supxlabel("Recall@1 above U512 on unseen classes", fontsize=10)
    path = DOCS / "images" / "evidence.png"
    figure.savefig(path, dpi=110, pil_kwargs={"optimize": True})
    print(path)


if __name__ == "__main__":
    main()
