"""What a user can mend: one sentence that names the thing, the value and the mend."""


class UsageError(ValueError):
    """A flag or an argument is wrong. Commands exit with status 2."""


class DataError(ValueError):
    """Something on disk is wrong: images, lists, weights. Commands exit with 1."""
