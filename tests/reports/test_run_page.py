import base64
import io
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from deml_tf.reports.comparison import comparison_table, write_comparison
from deml_tf.reports.examples import AttentionExample, Neighbour, Retrieval
from deml_tf.reports.run_page import write_report
from tests.reports.heard import nameless


def scores(recall):
    return {
        "recall_at_1": recall,
        "recall_at_2": recall + 0.1,
        "recall_at_4": recall + 0.2,
        "recall_at_8": recall + 0.3,
        "r_precision": recall - 0.1,
        "map_at_r": recall - 0.2,
        "nmi": 0.71,
        "queries": 5924,
        "queries_left_out": 3,
    }


RESULTS = {
    "dataset": {"kind": "list", "data_dir": "birds"},
    "protocol": {"train_classes": 80, "test_images": 5927},
    "model": {
        "name": "DeML(2,3)",
        "scales": 2,
        "learners": 3,
        "embedding_dim": 504,
        "parameters": 18712345,
        "gmacs": 7.973,
    },
    "frozen": scores(0.412),
    "test": scores(0.523),
    "validation": {},
    "train": {
        "steps": 4000,
        "best_step": 20,
        "seconds": 7265.2,
        "images_per_second": 41.26,
    },
    "object_attention": {
        "fallback_share": 0.0123,
        "mean_box": [[0, 0, 1, 1], [0.125, 0.25, 0.875, 0.75]],
        "iou": [0.311, 0.622],
        "side": [1.0, 0.613],
        "side_correlation": [None, 0.443],
    },
    "learners": {
        "cosine": [0.257, 0.358],
        "predictability": [0.169, None],
        "recall_at_1": [[0.371, 0.372, None], [0.373, 0.374, 0.375]],
    },
    "embedding": {"variance": 0.876, "effective_rank": 23.45},
    "per_scale": [{"scale": 1, "recall_at_1": 0.487}, {"scale": 2}],
    "seed": 3,
}
METRICS = [
    {
        "step": step,
        "loss": 5 / step,
        "metric_loss": 4 / step,
        "adversary_loss": None if step == 20 else 0.4,
        "images_per_second": 40.0,
        **({"validation_recall_at_1": 0.6 - step / 1000} if step % 20 == 0 else {}),
    }
    for step in range(10, 60, 10)
]


def image(seed=0, shape=(20, 30)):
    return np.random.default_rng(seed).integers(0, 256, (*shape, 3), np.uint8)


def retrieval(label="tern", neighbours=3):
    found = [Neighbour(image(k), f"n{k}", 0.9 - k, k != 1) for k in range(neighbours)]
    return Retrieval(image(), label, tuple(found))


def example(label="wren", crops=None, truth=None):
    boxes = np.array([[0, 0, 1, 1], [0.25, 0.25, 0.75, 0.75]])
    saliency = np.random.default_rng(1).random((2, 7, 7))
    return AttentionExample(image(), label, boxes, saliency, crops, truth)


def report(path, **changes):
    arguments = {
        "title": "birds",
        "results": RESULTS,
        "metrics": METRICS,
        "retrievals": [retrieval()],
        "attention": [example()],
        "flags": {"seed": 3, "data_dir": "birds"},
        **changes,
    }
    write_report(path / "report.html", **arguments)
    return Page((path / "report.html").read_text(encoding="utf-8"))


class Page(HTMLParser):
    """What a browser would see: tags with attributes, and the text."""

    def __init__(self, source):
        super().__init__()
        self.source, self.tags, self.pieces, self.open = source, [], [], []
        self.feed(source)
        self.close()
        assert not self.open, f"left open: {self.open}"
        self.text = " ".join("".join(self.pieces).split())

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in ("meta", "img", "br", "wbr"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.pieces.append(data)

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


def test_page_is_whole_without_a_network(tmp_path):
    page = report(tmp_path)
    assert not re.search(r"https?:|//[a-z]|@import|url\((?!#)", page.source)
    assert not page.all("script") and not page.all("link")
    images = [image["src"] for image in page.all("img")]
    assert len(images) == 1 + 3 + 1 + 2 * 2
    for source in images:
        kind, data = source.split(",")
        assert kind == "data:image/jpeg;base64"
        assert Image.open(io.BytesIO(base64.b64decode(data))).format == "JPEG"
    assert all(image["alt"] for image in page.all("img"))
    meta = {attributes.get("name") for attributes in page.all("meta")}
    assert "viewport" in meta and "prefers-color-scheme: dark" in page.source


def test_figures_of_the_run_are_there(tmp_path):
    page = report(tmp_path, environment={"cpu": "abacus", "cpu_count": 2})
    text = page.text
    for figure in (
        ["0.523", "0.412", "+0.111", "5,924 test queries, 3 left out", "0.710"]
        + ["18,712,345", "7.97", "2 × 3", "2 h 01 min", "41.3", "1.2%", "data set kind"]
        + ["80", "5,927", "0.487", "0.622", "75% × 50%", "abacus", "2 flags"]
        + ["0.613", "0.443", "0.876", "23.4"]
    ):
        assert figure in text, figure
    cells = spaced(page.source)
    assert "R@1 of learner 3 mean cosine predictability" in cells
    assert "1 0.371 0.372 – 0.257 0.169 2 0.373 0.374 0.375 0.358 –" in cells


def test_charts_and_rows_have_names_to_hear(tmp_path):
    assert not nameless(report(tmp_path).source)
    write_comparison(tmp_path / "all.html", ROWS)
    assert not nameless((tmp_path / "all.html").read_text(encoding="utf-8"))


def test_a_printed_page_is_whole(tmp_path):
    style = report(tmp_path).source.partition("</style>")[0]
    printed = style.partition("@media print {")[2]
    assert ".scroll { overflow: visible; }" in printed
    assert "figure, .panel, .retrieval, tr { break-inside: avoid; }" in printed
    (kept,) = re.findall(r"(.*){ -webkit-print-color-adjust: exact", style)
    assert kept.strip() == ".swatch, .framed b"


def test_numbers_stay_whole_beside_long_names(tmp_path):
    """The name gives way, which a phone breaks; flags come before their values."""
    style = report(tmp_path).source.partition("</style>")[0]
    (facts, listed) = re.findall(r"^((?:details )?dl) .*columns: (.*?);", style, re.M)
    assert facts == ("dl", "minmax(0, 1fr) fit-content(60%)")
    assert listed == ("details dl", "auto 1fr")


def test_charts_of_what_was_recorded_and_the_best_step(tmp_path):
    page = report(tmp_path)
    assert len(page.all("svg")) == 5  # validation, three losses, speed
    for title in ("Recall@1 on validation", "Total loss", "Metric loss", "Adversary"):
        assert title in page.text
    assert "Unit rows" not in page.text
    assert "best step 20: 0.580" in page.text
    assert "currentColor" in page.source and "var(--accent)" in page.source


def test_hits_and_misses_are_marked_by_sign_and_class(tmp_path):
    page = report(tmp_path)
    marks = [
        a["class"] for a in page.all("figure") if a.get("class") in ("hit", "miss")
    ]
    assert marks == ["hit", "miss", "hit"]
    row = page.text[page.text.index("2 of 3") :]
    assert re.match(r"2 of 3 ✓ 0\.900 n0 ✗ -0\.100 n1 ✓ -1\.100 n2", row), row[:60]


def test_labels_and_flags_are_escaped(tmp_path):
    evil = '<script>alert("x")</script>&_"\'>'
    page = report(
        tmp_path,
        title=evil,
        retrievals=[retrieval(evil)],
        attention=[example(evil)],
        flags={evil: evil},
        environment={evil: evil},
        results={**RESULTS, "dataset": evil},
    )
    assert not page.all("script") and "<script" not in page.source
    assert page.text.count(evil) >= 7
    assert f"query: {evil}" in [image["alt"] for image in page.all("img")]


def test_long_runs_make_small_charts(tmp_path):
    metrics = [{"step": step, "loss": 1 + step % 7} for step in range(20_000)]
    page = report(tmp_path, metrics=metrics, retrievals=[], attention=[])
    assert len(page.source) < 60_000 and len(page.all("svg")) == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"results": {}},
        {"results": {"test": scores(0.5)}},
        {"results": {"frozen": {"recall_at_1": None}, "test": {"recall_at_1": None}}},
        {"results": {"test": {"recall_at_1": 0.5, "recall_at_1000": 1.0}}},
        {"results": {"object_attention": {"mean_box": [[None] * 4], "iou": None}}},
        {"results": {"object_attention": {"mean_box": [[0, 0, 1, 1]], "iou": []}}},
        {"results": {"object_attention": {"mean_box": [[0, 0, 1, 1]], "side": []}}},
        {"results": {"learners": {"recall_at_1": [[0.5], [0.5]]}}},
        {"results": {"learners": {"recall_at_1": [[None, 0.5]], "cosine": []}}},
        {"results": {key: None for key in RESULTS}},
        {"results": {key: {} for key in ("train", "model", "protocol", "test")}},
        {"metrics": []},
        {"metrics": [{}]},
        {"metrics": [{"step": 1}, {"loss": 1.0}]},
        {"metrics": [{"step": 1, "loss": None}, {"step": 2, "loss": float("nan")}]},
        {"metrics": [{"step": 1, "loss": 1.0, "validation_recall_at_1": 0.5}]},
        {"retrievals": []},
        {"retrievals": [retrieval(neighbours=0)]},
        {"attention": []},
        {"attention": [example(truth=np.array([0.1, 0.1, 0.9, 0.9]))]},
        {"attention": [example(crops=np.zeros((2, 16, 16, 3), np.uint8))]},
        {"flags": None},
        {"environment": {}},
    ],
)
def test_whatever_is_missing_the_page_stands(tmp_path, changes):
    page = report(tmp_path, **changes)
    assert "birds" in page.text
    assert not re.search(r"\b(None|nan)\b", page.text)


def test_crops_are_cut_out_of_the_boxes_unless_given(tmp_path):
    def red(crops):
        view = report(tmp_path, attention=[example(crops=crops)]).all("img")[-2]["src"]
        image = Image.open(io.BytesIO(base64.b64decode(view.split(",")[1])))
        return np.asarray(image)[..., 0].mean()

    crops = np.zeros((2, 16, 16, 3), np.uint8)
    assert red(crops) < 5 < 60 < red(None)


ROWS = [
    ("frozen", {"frozen": scores(0.41)}),
    ("U512", {"test": scores(0.5), "frozen": scores(0.9), "train": {"steps": 900}}),
    ("DeML(2,3)", RESULTS),
]


def test_comparison_page(tmp_path):
    (tmp_path / "a run").mkdir()
    links = {"DeML(2,3)": tmp_path / "a run" / "report.html", "U512": tmp_path / "u"}
    links["frozen"] = tmp_path / "caf\udce9" / "r"  # no UTF-8
    path = tmp_path / "pages" / "all.html"
    write_comparison(path, ROWS, links=links, warnings=["<a> was tested alone"])
    page = Page(path.read_text(encoding="utf-8"))
    assert [a["href"] for a in page.all("a")] == [
        "../caf%E9/r",
        "../u",
        "../a%20run/report.html",
    ]
    assert "Warning: <a> was tested alone." in page.text
    assert "Runs side by side" in page.text and len(page.all("svg")) == 1
    assert not re.search(r"https?:", page.source)
    assert "U512 0.500 0.600 0.700 0.800 0.400 0.300 900 –" in spaced(page.source)
    best = re.findall(r'<td class="best">(.*?)</td>', page.source)
    assert best == ["0.523", "0.623", "0.723", "0.823", "0.423", "0.323"]


def spaced(source):
    return " ".join(re.sub(r"<[^>]*>", " ", source).split())


@pytest.mark.parametrize("rows", [[], [("a", {})], [("a", {"test": {}})] * 2])
def test_comparison_of_nothing_stands(tmp_path, rows):
    write_comparison(tmp_path / "all.html", rows)
    assert "R@1" in Page((tmp_path / "all.html").read_text(encoding="utf-8")).text
    assert comparison_table(rows).row_count == len(rows)


def test_comparison_table_fits_a_terminal():
    written = io.StringIO()
    console = Console(file=written, width=80)
    console.print(comparison_table([*ROWS, ("[bold]odd[/bold]", {})]))
    output = written.getvalue()
    lines = [" ".join(line.split()) for line in output.splitlines()]
    assert "R@1 R@2 R@4 R@8 RP MAP@R steps images/s" in lines
    assert "frozen 0.410 0.510 0.610 0.710 0.310 0.210 – –" in lines
    assert "DeML(2,3) 0.523 0.623 0.723 0.823 0.423 0.323 4,000 41" in lines
    assert "[bold]odd[/bold] – – – – – – – –" in lines
