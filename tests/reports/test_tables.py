import io

from rich.console import Console

from deml_tf.reports.comparison import comparison_table


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
