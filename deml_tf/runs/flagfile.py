"""A run's flags as lines of an absl flagfile, and those of older versions read back."""

import csv
import io
from collections.abc import Iterable

import numpy as np

from deml_tf.errors import UsageError

# Flags of older versions, and what they are called now.
RENAMED = {
    "alpha": "binomial_deviance_alpha",
    "beta": "binomial_deviance_beta",
    "border": "walk_border",
    "cost_negative": "binomial_deviance_cost_negative",
    "cost_positive": "binomial_deviance_cost_positive",
    "cut": "cut_layer",
    "epsilon": "walk_epsilon",
    "multi_layer": "walk_multi_layer",
    "plumage_pictures": "plumage_images",
    "prior_correction": "walk_prior_correction",
}


def flag_text(name: str, value: object) -> str:
    """Write a value as absl reads it back from a line of a flagfile.

    Args:
        name: Name of the flag.
        value: A list or tuple is written as an absl list flag, all else by `str`.

    Raises:
        UsageError: The value does not fit on a line.
    """
    if isinstance(value, bool | np.bool_):
        return str(value).lower()
    if isinstance(value, list | tuple):
        row = io.StringIO()
        csv.writer(row, lineterminator="").writerow(value)
        text = row.getvalue()
        lost = any(str(item) != str(item).strip() for item in value)
    else:
        text = str(value)
        lost = text != text.rstrip()
    if lost or len(text.splitlines()) > 1:
        raise UsageError(
            f"{name}={value!r} fits on no line of a flagfile: leave out line breaks "
            "and the blanks at its ends."
        )
    return text


def parsed_lines(lines: Iterable[str]) -> dict[str, str]:
    """Return the value of each flag in the lines of a flagfile, as text."""
    pairs = (line.strip().partition("=") for line in lines)
    return {
        name[2:]: value
        for name, equals, value in pairs
        if equals and name.startswith("--")
    }


def renamed_lines(lines: Iterable[str]) -> list[str]:
    """Return the lines of an older version's flagfile with today's names."""
    renamed = []
    for line in lines:
        name, equals, value = line.removeprefix("--").partition("=")
        renamed.append(f"--{RENAMED[name]}={value}" if name in RENAMED else line)
    return renamed
