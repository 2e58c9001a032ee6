import io
import re

from rich.console import Console

from deml_tf.reports.comparison import comparison_table
from deml_tf.reports.run_facts import MEASURES
from deml_tf.reports.score_tables import score_tables


def test_long_names_give_way_to_the_numbers():
    name = "frozen start of u512_lr1e-4, deml_3_1_lr1e-4 and deml_3_3_hinge"
    scores = {f"recall_at_{k}": 0.1 + k / 50 for k in (1, 2, 4, 8)} | {
        "map_at_r": 0.625
    }
    for width in (80, 120):
        text = io.StringIO()
        Console(file=text, width=width).print(
            comparison_table([(name, {"test": scores}), ("b" * 99, {"test": {}})])
        )
        found = text.getvalue()
        assert "…" not in found
        for words in ("0.120", "0.140", "0.180", "0.260", "0.625", "MAP@R", "R@8"):
            assert words in found


def printed(tables):
    text = io.StringIO()
    for table in tables:
        Console(file=text, width=80, markup=False).print(table)
    return text.getvalue()


def test_scores_fit_a_terminal_of_80_columns():
    """Of DeML(3,3): a title that is cut off may be that of another column."""
    joined = {f"recall_at_{k}": 0.1 + k / 50 for k in (1, 2, 4, 8)}
    joined |= {"r_precision": 0.3, "map_at_r": 0.2, "nmi": 0.6}
    joined |= {"queries": 1, "queries_left_out": 3}
    row = {"chance": 0.1, "frozen": 0.2, "whole": 0.9, "parts": [[0.4, 0.5, 0.6]] * 3}
    hard = {"label": "b" * 99, "queries": 3, "recall_at_1": 0.5, "r_precision": 0.1}
    attention = dict.fromkeys(MEASURES, [0.1, 0.2, 0.3]) | {"fallback_share": 0.1}
    scores = {
        "joined": joined,
        "per_scale": [{"scale": 1}],
        "object_attention": attention,
        "attributes": {"upper_wing_colour": row},
        "classes": [hard | {"map_at_r": 0.7}],
    }
    found = printed(score_tables(scores, 5))
    assert "…" not in found
    for words in ("R@1     R@2     R@4     R@8", "0.1200", "0.2600", "b" * 30):
        assert words in found
    assert re.findall(r"\d\.\d\d(?!\d)", found) == (
        ["0.10", "0.20", "0.90", *["0.40", "0.50", "0.60"] * 3]
    )
    assert "1 query, 3 left out (no other image of their class to find)" in found
    assert "Hardest classes" in found
    assert "Hardest classes" not in printed(score_tables(scores, 0))
