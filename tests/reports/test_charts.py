"""Charts of runs, read as SVG."""

import re

import matplotlib
import numpy as np
from matplotlib.axes import Axes

from deml_tf.reports.charts import LOSSES, bars, curves, new_axes, notes, svg


def labels(svg):
    """What a chart says, without the ticks of its vertical axis."""
    texts = re.findall(r"<text[^>]*>([^<]*)</text>", svg)
    return [text for text in texts if re.fullmatch(r"\d\.\d{3}|–", text)]


def test_a_recall_that_a_run_does_not_have_is_no_0():
    rows = [
        ("a", {"test": {"recall_at_1": 0.5, "recall_at_2": 0.7}}),
        ("b", {"test": {"recall_at_1": 0.4, "recall_at_8": 0.9}}),
    ]
    assert sorted(labels(bars(rows))) == ["0.400", "0.500", "0.700", "0.900", "–", "–"]


def test_every_term_of_the_loss_has_a_chart():
    metrics = [{"step": n, **dict.fromkeys(LOSSES, 0.5 + n)} for n in (1, 2)]
    titles = [title for title, _ in curves(metrics, None)]
    assert "Energy confusion" in titles and set(LOSSES.values()) <= {*titles}


def test_many_steps_are_drawn_as_means_over_their_band(monkeypatch):
    drawn = {}

    def spy(name):
        return lambda axes, *points, **style: drawn.update({name: points})

    for name in ("plot", "fill_between"):
        monkeypatch.setattr(Axes, name, spy(name))
    curves([{"step": n, "loss": n} for n in range(1, 1001)], None)
    steps, means = drawn["plot"]
    np.testing.assert_array_equal(steps, np.arange(3, 1000, 5))
    np.testing.assert_array_equal(means, steps)
    band = (steps, steps - 2, steps + 2)  # stretches of five values each
    np.testing.assert_array_equal(drawn["fill_between"], band)


def test_the_best_step_is_shown_where_it_was_chosen():
    metrics = [
        {"step": n, "validation_recall_at_1": r, "validation_map_at_r": m}
        for n, r, m in ((1, 0.6, 0.3), (2, 0.5, 0.4), (3, 0.4, 0.2))
    ]
    (recall, _), (score, drawn) = curves(metrics, 2)
    assert recall == "Recall@1 on validation classes"
    assert score == "MAP@R on validation classes" and "best step 2: 0.400" in drawn
    (note,) = notes(metrics)
    assert "highest MAP@R" in note


def test_line_and_band_are_explained_where_they_are():
    metrics = [{"step": n, "loss": n} for n in range(1, 402)]
    assert notes(metrics[:-1]) == []
    (note,) = notes(metrics)
    assert "band" in note


def test_the_name_of_a_chart_is_escaped():
    drawn = svg(new_axes()[0], '<"a">\n')
    assert 'role="img" aria-label="&lt;&#34;a&#34;&gt;\\n"' in drawn


def test_no_name_is_a_formula():
    figure, axes = new_axes()
    axes.set_yticks([0, 1], ["a $^$", "b $x$"])
    axes.set_xlabel("c $^$")
    axes.annotate("d $^$", (0.5, 0.5))
    drawn = svg(figure, "all")
    assert all(f">{name}<" in drawn for name in ("a $^$", "b $x$", "c $^$", "d $^$"))


def test_no_matplotlibrc_changes_a_chart():
    metrics = [{"step": n, "loss": n, "validation_recall_at_1": 0.5} for n in (1, 2)]
    rows = [("a", {"test": {"recall_at_1": 0.5}})]
    plain = curves(metrics, 2), bars(rows)
    with matplotlib.rc_context({"text.usetex": True, "lines.markersize": 20}):
        assert (curves(metrics, 2), bars(rows)) == plain
