"""The page and the table of a study, whatever its runs tell."""

import io
import re
from typing import Any

import matplotlib
import pytest
from rich.console import Console
from test_run_page import Page

from deml_tf.reports.study_attributes import attribute_tables
from deml_tf.reports.study_charts import against_cost, dots, learning_curves
from deml_tf.reports.study_page import StudyFacts, write_study
from deml_tf.reports.study_table import (
    diagnostic_cells,
    difference_cell,
    layout_cells,
    seen_cells,
    study_table,
    with_half,
)
from deml_tf.studies.extra_scores import LAID_OUT
from deml_tf.studies.intervals import Estimate
from deml_tf.studies.plan import Variant
from deml_tf.studies.records import Record
from deml_tf.studies.summary import summarise
from tests.reports.heard import nameless

NUMBERS = {
    "recall_at_1": 0.5,
    "map_at_r": 0.2,
    "r_precision": 0.3,
    "seen/recall_at_1": 0.8,
    "seen_minus_unseen": 0.3,
    "gmacs": 0.25,
    "parameters": 4_026_368,
    "seconds": 905.2,
    "peak_memory_mib": 2345.6,
    "best_step": 240,
    "object_attention/iou/1": 0.34,
    "object_attention/iou/2": 0.42,
    "learners/recall_at_1/1/1": 0.2,
    "learners/recall_at_1/1/2": 0.4,
    "learners/recall_at_1/2/1": 0.3,
    "learners/recall_at_1/2/2": 0.3,
    "embedding/effective_rank": 31.4,
}
FACTS = StudyFacts("birds", "python -m deml_tf.study", ["--steps=300"], (0, 1))
CURVE = [[100.0, 0.1], [200.0, 0.2]]


def variant(name, reference: str | None = "U512", *own):
    configs: Any = None
    return Variant(name, own, reference, configs, own, {})


def study(*variants, seeds=(0, 1), curve=CURVE, **changes):
    """Rows whose later variants have a higher recall, the same for each seed."""
    records = [
        Record(v.name, seed, {}, {**numbers(place, seed), **changes}, curve)
        for place, v in enumerate(variants)
        for seed in seeds
    ]
    return summarise(variants, seeds, records)


def numbers(place, seed):
    recall = 0.5 + 0.05 * place * (1 + seed) + 0.01 * seed
    return {**NUMBERS, "recall_at_1": recall, "gmacs": 0.25 * (1 + place)}


def page_of(path, rows, facts=FACTS):
    write_study(path / "study.html", rows, facts)
    return Page((path / "study.html").read_text(encoding="utf-8"))


THREE = (
    variant("U512", None, "--scales=1"),
    variant("DeML(3,3)", "U512", "--scales=3"),
    variant("none", "DeML(3,3)", "--decoupling=none"),
)


def test_page_is_whole_without_a_network(tmp_path):
    page = page_of(tmp_path, study(*THREE))
    assert not re.search(r"https?:|//[a-z]|@import|url\((?!#)", page.source)
    assert not page.all("script") and not page.all("link")
    assert len(page.all("svg")) == 3 + 3  # dots, differences, cost; curves
    assert "currentColor" in page.source and "var(--accent)" in page.source
    assert "prefers-color-scheme: dark" in page.source


def test_charts_rows_and_columns_have_names_to_hear(tmp_path):
    source = page_of(tmp_path, study(*THREE)).source
    assert not nameless(source)
    for head in re.findall(r"<thead>.*?</thead>", source):
        titles = re.findall(r"<th[^>]*>(.*?)</th>", head)
        assert len({*titles}) == len(titles)


def test_a_printed_study_is_wide_and_its_widest_table_small(tmp_path):
    source = page_of(tmp_path, study(*THREE)).source
    assert "@page { size: landscape;" in source and '<table class="wide">' not in source
    scores = {
        f"{layout}/object_attention/{key}": 0.5
        for layout in LAID_OUT
        for key in ("fallback_share", "iou", "iou_of_centre", "entropy")
    }
    source = page_of(tmp_path, study(*THREE, **scores)).source
    assert source.count('<table class="wide">') == 1
    assert ".wide { font-size: .52rem; }" in source.partition("@media print {")[2]


def test_figures_of_the_study_are_there(tmp_path):
    text = page_of(tmp_path, study(*THREE)).text
    for figure in (
        ["0.505 ± 0.064", "0.580 ± 0.381", "+0.075 ± 0.318", "4,026,368", "905", "0.25"]
        + [
            "2,346",
            "240",
            "--scales=3",
            "--steps=300",
            "0.800 ± 0.000",
            "0.340 / 0.420",
        ]
        + [
            "0.300 / 0.300",
            "31.400",
            "IoU",
            "effective rank",
            "python -m deml_tf.study",
        ]
        + ["n seeds (of 0, 1)", "95% interval"]
    ):
        assert figure in text, figure


def test_each_row_is_compared_with_its_reference():
    rows = study(*THREE)
    means = [row.differences.get("recall_at_1") for row in rows]
    assert means[0] is None
    assert [d and round(d.mean, 3) for d in means[1:]] == [0.075, 0.075]
    assert [row.reference for row in rows] == [None, "U512", "DeML(3,3)"]


@pytest.mark.parametrize(
    ("change", "is_bold"), [(0.2, True), (-0.2, True), (0.0, False)]
)
def test_a_difference_is_bold_if_its_interval_leaves_out_0(tmp_path, change, is_bold):
    two = THREE[:2]
    records = [
        Record(v.name, seed, {}, {"recall_at_1": 0.5 + seed / 100 + change * place}, [])
        for place, v in enumerate(two)
        for seed in (0, 1)
    ]
    records[-1].numbers["recall_at_1"] += 1e-3
    rows = summarise(two, (0, 1), records)
    page = page_of(tmp_path, rows)
    assert bool(re.search(r'<td class="best">[+-]0\.', page.source)) == is_bold
    shown = io.StringIO()
    console = Console(file=shown, force_terminal=True, width=120)
    console.print(study_table(rows))
    assert ("\x1b[1m" in shown.getvalue().split("DeML")[1]) == is_bold


def test_records_of_something_else_are_left_out():
    records = [
        Record("U512", 0, {}, {"recall_at_1": 0.1}, []),
        Record("U512", 1, {"steps": "9"}, {"recall_at_1": 0.2}, []),
        Record("U512", 7, {}, {"recall_at_1": 0.3}, []),
        Record("gone", 0, {}, {"recall_at_1": 0.4}, []),
    ]
    (row,) = summarise(THREE[:1], (0, 1), records)
    assert row.means["recall_at_1"] == Estimate(1, 0.1)


@pytest.mark.parametrize(
    "rows",
    [
        study(*THREE, seeds=()),
        study(*THREE, seeds=(0,)),
        study(*THREE, curve=[]),
        study(THREE[0]),
        summarise(THREE, (0, 1), [Record("none", 0, {}, {}, [])]),
        summarise(THREE, (0, 1), [Record("none", 0, {}, NUMBERS, CURVE)]),
        summarise(THREE, (0,), [Record("U512", 0, {}, {"recall_at_1": 0.5}, [])]),
    ],
)
def test_whatever_is_missing_the_page_stands(tmp_path, rows):
    page = page_of(tmp_path, rows)
    assert "birds" in page.text
    names = {row.name for row in rows if row.runs} or {"U512"}
    assert all(name in page.text for name in names)
    assert not re.search(r"\b(None|nan)\b", page.text)
    assert study_table(rows).row_count == len(rows)


def test_variants_without_runs_are_left_out_once_any_has_one(tmp_path):
    rows = summarise(THREE, (0,), [Record("DeML(3,3)", 0, {}, NUMBERS, CURVE)])
    assert "--scales=3" in page_of(tmp_path, rows).text
    assert "--decoupling=none" not in page_of(tmp_path, rows).text
    assert "--decoupling=none" in page_of(tmp_path, study(*THREE, seeds=())).text


def test_costs_are_drawn_only_where_they_differ():
    recall = ("recall_at_1", "Recall@1")
    assert against_cost(study(*THREE), *recall)
    alike = [
        Record(v.name, seed, {}, {"recall_at_1": 0.5, "gmacs": 0.4067472}, [])
        for v, seeds in zip(THREE, (1, 3, 3), strict=True)
        for seed in range(seeds)
    ]  # whose means differ in the last bit
    assert against_cost(summarise(THREE, (0, 1, 2), alike), *recall) is None


def test_what_is_left_and_what_failed_is_named(tmp_path):
    facts = FACTS._replace(left=["a, seed 1", "b, seed 1"], failed=["c, seed 0"])
    text = page_of(tmp_path, study(*THREE), facts).text
    assert (
        "Not done yet: a, seed 1; b, seed 1." in text and "Failed: c, seed 0." in text
    )


def test_of_many_that_are_left_some_are_named(tmp_path):
    facts = FACTS._replace(left=[f"v{n}, seed 0" for n in range(11)])
    text = page_of(tmp_path, study(*THREE), facts).text
    assert "Not done yet: v0, seed 0; " in text and "v7, seed 0; and 3 more." in text


def test_names_and_flags_are_escaped(tmp_path):
    evil = '<script>alert("x")</script>&_"\'>'
    rows = study(variant("U512", None, evil))
    facts = StudyFacts(evil, evil, [evil], (0,), [evil], [evil])
    page = page_of(tmp_path, rows, facts)
    assert not page.all("script") and page.text.count(evil) >= 6


def test_columns_that_no_row_has_are_left_out():
    titles, cells = diagnostic_cells(study(*THREE))
    assert titles == ["IoU", "R@1 of a part alone", "effective rank"]
    assert [cell.text for cell in cells[2]] == [
        "0.340 / 0.420",
        "0.300 / 0.300",
        "31.400",
    ]
    assert diagnostic_cells(summarise(THREE, (0,), [])) == ([], [[], [], []])
    titles, cells = seen_cells(study(*THREE))
    assert "validation MAP@R" not in titles and "seen R@1" in titles
    assert [len(row) for row in cells] == [len(titles)] * 3


def test_a_scale_without_a_number_keeps_its_place():
    """The correlation of scale 1, whose box is the whole image, is none."""
    change = {f"object_attention/side/{scale}": 0.5 for scale in (1, 2, 3)}
    change["object_attention/side_correlation/2"] = 0.25
    titles, cells = diagnostic_cells(study(*THREE, **change))
    at = titles.index("correlation with the listed side")
    assert cells[0][at].text == "– / 0.250 / –"


def texts(cells):
    return [cell.text for cell in cells]


def test_layouts_stand_beside_the_images_as_they_are():
    assert layout_cells(study(*THREE)) == ([], [[], [], []])
    laid_out = {
        "shifted/recall_at_1": 0.25,
        "shifted/object_attention/iou/1": 0.125,
        "shifted/object_attention/iou/2": 0.25,
        "empty/object_attention/entropy": 0.75,
    }
    titles, cells = layout_cells(study(*THREE, **laid_out))
    assert titles == [
        "as they are: R@1",
        "as they are: IoU",
        "shifted: R@1",
        "shifted: IoU",
        "empty: entropy of the saliency",
    ]
    assert texts(cells[0]) == [
        "0.505 ± 0.064",
        "0.340 / 0.420",
        "0.250 ± 0.000",
        "0.125 / 0.250",
        "0.750",
    ]


def test_attributes_are_compared_with_the_reference(tmp_path):
    def record(place, seed):
        found = {"chance": 0.25, "frozen": 0.375, "parts/1/1": 0.25, "parts/1/2": 0.75}
        found["whole"] = 0.5 + 0.125 * place + 1e-3 * seed
        crown = {f"attributes/crown_colour/{k}": v for k, v in found.items()}
        mean = {f"attributes/mean/{k}": v / 2 for k, v in found.items()}
        return Record(THREE[place].name, seed, {}, {**crown, **mean}, [])

    records = [record(place, seed) for place in (0, 1) for seed in (0, 1)]
    rows = summarise(THREE, (0, 1), records)
    whole, gains, differences, parts = attribute_tables(rows)
    for _, titles, _ in (whole, gains, differences, parts):
        assert titles == ["mean", "crown colour"]
    assert [(name, texts(cells)) for name, cells in whole[2]] == [
        ("chance", ["0.125", "0.250"]),
        ("frozen start", ["0.188", "0.375"]),
        ("U512", ["0.250 ± 0.003", "0.500 ± 0.006"]),
        ("DeML(3,3)", ["0.313 ± 0.003", "0.625 ± 0.006"]),
    ]
    assert [(name, texts(cells)) for name, cells in gains[2]] == [
        ("U512", ["+0.063 ± 0.003", "+0.126 ± 0.006"]),
        ("DeML(3,3)", ["+0.125 ± 0.003", "+0.251 ± 0.006"]),
    ]
    assert all(cell.is_bold for _, cells in gains[2] for cell in cells)
    ((name, cells),) = differences[2]
    assert name == "DeML(3,3) − U512"
    assert texts(cells) == ["+0.062 ± 0.000", "+0.125 ± 0.000"]
    assert all(cell.is_bold for cell in cells)
    assert texts(parts[2][0][1]) == ["0.250", "0.500"]
    assert "crown colour" in page_of(tmp_path, rows).text
    for record in records[2:]:
        record.numbers["attributes/mean/frozen"] = 0.5
    whole, *_ = attribute_tables(summarise(THREE, (0, 1), records))
    assert [(name, cells[0].text) for name, cells in whole[2][:3]] == [
        ("chance", "0.125"),
        ("frozen start", "0.188"),
        ("frozen start of DeML(3,3)", "0.500"),
    ]
    assert attribute_tables(study(*THREE)) == []


def test_the_table_fits_a_terminal():
    shown = io.StringIO()
    Console(file=shown, width=120).print(study_table(study(*THREE)))
    lines = [" ".join(line.split()) for line in shown.getvalue().splitlines()]
    assert "n Recall@1 difference to MAP@R GMAC parameters seconds" in lines
    assert (
        "DeML(3,3) 2 0.580 ± 0.381 +0.075 ± 0.318 U512 0.200 ± 0.000 0.50 4,026,368 905"
        in lines
    )


@pytest.mark.parametrize("width", [80, 120])
def test_long_names_give_way_to_the_figures(width):
    long = variant("supervised_contrastive_of_272_pixels", None)
    other = variant("supervised_contrastive_of_160_pixels", long.name)
    shown = io.StringIO()
    Console(file=shown, width=width).print(study_table(study(long, other)))
    words = shown.getvalue().split()
    assert {"0.200", "+0.075", "0.318", "4,026,368", "0.50", "905"} <= {*words}


def test_a_mean_without_interval_stands_alone():
    (row,) = study(variant("U512", None))
    assert with_half(Estimate(2, 0.5), row) == "0.500"
    assert with_half(Estimate(2, -0.5, 0.1, -1.0, 0.0), row, "+") == "-0.500 ± 0.500"
    assert with_half(None, row) == "–"


def test_what_fewer_seeds_have_says_so():
    """A difference is of the seeds that both variants have."""
    first, second = variant("a", None), variant("b", "a")
    records = [
        Record(name, seed, {}, numbers(place, seed), CURVE)
        for place, (name, seeds) in enumerate((("a", (0, 1)), ("b", (0, 1, 2))))
        for seed in seeds
    ]
    row = summarise((first, second), (0, 1, 2), records)[1]
    found = difference_cell(row, "recall_at_1").text
    assert found.startswith("+0.075 ± ") and found.endswith(" (n = 2)")
    assert "n = " not in with_half(row.means["recall_at_1"], row)


def test_a_single_validation_is_drawn():
    (row,) = study(variant("a", None), seeds=(0,), curve=[[100.0, 0.1]])
    ((_, one),) = learning_curves([row])
    (row,) = study(variant("a", None), seeds=(0,))
    ((_, two),) = learning_curves([row])
    assert one.count("<use") == two.count("<use") + 1  # a marker


def test_no_matplotlibrc_changes_a_chart():
    rows, score = study(*THREE), ("recall_at_1", "Recall@1")

    def charts():
        return dots(rows, *score), against_cost(rows, *score), learning_curves(rows)

    plain = charts()
    with matplotlib.rc_context({"text.usetex": True, "lines.markersize": 20}):
        assert charts() == plain
