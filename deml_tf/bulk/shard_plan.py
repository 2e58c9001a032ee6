"""Which images are in which shard, in which batch, and in which process's part."""

import dataclasses
import re
from collections.abc import Iterable, Iterator

from deml_tf.errors import UsageError


@dataclasses.dataclass(frozen=True)
class ShardPlan:
    """Images cut into shards, and shards into batches.

    No batch holds images of two shards, so which images are run together depends
    neither on the shards that were there before nor on how many processes share the
    work.

    Args:
        images: Number of images, at least 1.
        shard_size: Images in a shard; the last one holds what remains.
        batch_size: Images in a batch; the last one of a shard holds what remains.
    """

    images: int
    shard_size: int
    batch_size: int

    @property
    def shards(self) -> int:
        """Number of shards."""
        return -(-self.images // self.shard_size)

    def rows(self, shard: int) -> range:
        """Return the indices of a shard's images."""
        start = shard * self.shard_size
        return range(start, min(start + self.shard_size, self.images))

    def batches(self, shards: Iterable[int]) -> Iterator[range]:
        """Yield the indices of each batch of the shards."""
        for shard in shards:
            rows = self.rows(shard)
            for start in range(0, len(rows), self.batch_size):
                yield rows[start : start + self.batch_size]

    def part(self, number: int, parts: int) -> range:
        """Return the shards of one part, every `parts`-th one.

        Args:
            number: Number of the part, from 1.
            parts: Number of all parts.
        """
        return range(number - 1, self.shards, parts)


def read_part(part: str) -> tuple[int, int]:
    """Read K/N.

    Args:
        part: Such as 1/4.

    Returns:
        K and N.

    Raises:
        UsageError: It is something else, or K is not in 1 to N.
    """
    found = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", part)
    if found:
        number, parts = map(int, found.groups())
        if 1 <= number <= parts:
            return number, parts
    raise UsageError(f"part={part}: give K/N with K from 1 to N, such as 1/4.")
