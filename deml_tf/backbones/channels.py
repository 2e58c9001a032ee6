"""Numbers of channels of a network made wider or narrower."""


def channels(count: int, width: float) -> int:
    """Scale a number of channels to a multiple of 8, losing no more than a tenth.

    Args:
        count: The number at width 1.
        width: The factor, above 0.

    Returns:
        A multiple of 8, at least 8.
    """
    scaled = max(8, int(count * width + 4) // 8 * 8)
    return scaled if scaled >= 0.9 * count * width else scaled + 8
