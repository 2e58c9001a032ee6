"""How far the outputs of an export are from what was trained."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from rich.table import Table

from deml_tf.errors import DataError

MOST = 1e-2
"""Largest difference allowed where outputs are sensitive to rounding."""


@dataclasses.dataclass(frozen=True)
class Difference:
    """How far one output of one run was from what was trained.

    Attributes:
        runtime: What ran the export: a loader or another library.
        signature: The signature that was called.
        batch_size: Number of images at once.
        output: Name of the output.
        largest: Largest absolute difference; infinity for another shape, type or NaN.
        share: Largest share of the allowed difference; 1 and more is too much.
    """

    runtime: str
    signature: str
    batch_size: int
    output: str
    largest: float
    share: float

    @property
    def is_within(self) -> bool:
        """Whether the difference is allowed."""
        return self.share < 1


def compare(
    runtime: str,
    signature: str,
    expected: Mapping[str, np.ndarray],
    found: Mapping[str, np.ndarray],
    bound: float,
    sensitivity: Mapping[str, np.ndarray] | None = None,
) -> list[Difference]:
    """Compare the outputs of one batch with what is expected, from any runtime.

    Args:
        runtime: What ran the export, for the record.
        signature: The signature that was called, for the record.
        expected: Array `(b, ...)` by output name.
        found: What came out.
        bound: Difference allowed for numbers; booleans must be equal.
        sensitivity: Differences, by output name, that are allowed where they are above
            the bound, up to `MOST`; with the output's axes, of its lengths or 1.

    Returns:
        One `Difference` for each expected output.
    """
    batch_size = len(next(iter(expected.values())))
    results = []
    for name, value in expected.items():
        gaps = _gaps(np.asarray(value), found.get(name))
        moved = (sensitivity or {}).get(name, 0.0)
        shares = gaps / np.clip(moved, bound, max(bound, MOST))
        largest, share = (float(x.max(initial=0.0)) for x in (gaps, shares))
        results.append(Difference(runtime, signature, batch_size, name, largest, share))
    return results


def largest_difference(expected: np.ndarray, found: np.ndarray | None) -> float:
    """Return the largest absolute difference.

    Args:
        expected: Numbers or booleans.
        found: What came out; None if nothing did.

    Returns:
        Infinity if shape or type differ, for NaN, and for any unequal boolean.
    """
    return float(_gaps(np.asarray(expected), found).max(initial=0.0))


def _gaps(expected: np.ndarray, found: np.ndarray | None) -> np.ndarray:
    """Return absolute differences; a single infinity if shape or type differ."""
    if (
        found is None
        or found.shape != expected.shape
        or (expected.dtype == bool) != (found.dtype == bool)
    ):
        return np.array([np.inf])
    if expected.dtype == bool:
        return np.where(expected != found, np.inf, 0.0)
    gaps = np.abs(expected.astype(np.float64) - found.astype(np.float64))
    return np.nan_to_num(gaps, nan=np.inf)


def require(differences: Sequence[Difference]) -> None:
    """Refuse differences that are not allowed.

    Args:
        differences: All that were measured.

    Raises:
        DataError: A difference is not allowed; the worst is named.
    """
    wrong = [d for d in differences if not d.is_within]
    if wrong:
        worst = max(wrong, key=lambda d: d.share)
        raise DataError(
            "The export differs from the trained embedder, so nothing was published: "
            f"signature {worst.signature}, {worst.runtime} loader, batch size "
            f"{worst.batch_size}, output {worst.output} by {worst.largest:.3g}, up to "
            f"{worst.share:.3g} times what is allowed ({len(wrong)} of "
            f"{len(differences)} comparisons failed)."
        )


def parity_table(differences: Sequence[Difference]) -> Table:
    """Return a table of the largest difference by runtime, signature and batch size.

    Args:
        differences: All that were measured.
    """
    sizes = sorted({d.batch_size for d in differences})
    table = Table(
        "run by",
        "signature",
        *(f"batch {size}" for size in sizes),
        title="Largest absolute difference from the trained embedder",
    )
    rows: dict[tuple[str, str], dict[int, float]] = {}
    for (runtime, signature, _), by_size in summary(differences).items():
        row = rows.setdefault((runtime, signature), {})
        for size, largest in by_size.items():
            row[size] = max(largest, row.get(size, 0.0))
    for names, row in rows.items():
        cells = (row.get(size) for size in sizes)
        table.add_row(*names, *("" if v is None else f"{v:.1e}" for v in cells))
    return table


def summary(
    differences: Sequence[Difference],
) -> dict[tuple[str, str, str], dict[int, float]]:
    """Return the largest difference by (runtime, signature, output) and batch size.

    Args:
        differences: All that were measured.
    """
    rows: dict[tuple[str, str, str], dict[int, float]] = {}
    for d in differences:
        row = rows.setdefault((d.runtime, d.signature, d.output), {})
        row[d.batch_size] = max(d.largest, row.get(d.batch_size, 0.0))
    return rows


def as_json(differences: Sequence[Difference]) -> list[dict[str, Any]]:
    """Return the `summary` for deml.json.

    Args:
        differences: All that were measured.
    """
    return [
        {
            "run_by": row[0],
            "signature": row[1],
            "output": row[2],
            "by_batch_size": sizes,
        }
        for row, sizes in summary(differences).items()
    ]
