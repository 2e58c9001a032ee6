"""How every command starts and how it ends on a user's mistake."""

import sys

from absl import app, flags, logging
from rich.console import Console

from deml_tf.errors import DataError, UsageError


def run(main):
    """Parses the flags and calls a command.

    Exit status: 0 done, 2 wrong usage, 1 wrong data; either with one sentence on
    the standard error and no traceback.

    Args:
        main: Function of the remaining arguments.
    """
    app.run(lambda argv: _guarded(main, argv), flags_parser=_parse)


def console():
    """Where tables go: as wide as the terminal, or wide enough where there is none."""
    found = Console()
    return found if found.is_terminal else Console(width=120)


def _parse(argv):
    try:
        return flags.FLAGS(argv)
    except flags.Error as error:
        _fail(f"{error} (--help lists the flags).", 2)


def _guarded(main, argv):
    if not flags.FLAGS["verbosity"].present:
        # TensorFlow tells each checkpoint's timing at the level absl shows by default.
        logging.set_verbosity(logging.WARNING)
    try:
        main(argv[1:])
    except UsageError as error:
        _fail(error, 2)
    except DataError as error:
        _fail(error, 1)
    except KeyboardInterrupt:
        _fail("Interrupted; the same command goes on from the last checkpoint.", 130)


def _fail(message, status):
    print(f"error: {message}", file=sys.stderr)
    sys.exit(status)
