"""How every command starts and how it ends on a user's mistake."""

import sys

from absl import app, flags

from deml_tf.errors import DataError, UsageError


def run(main):
    """Parses the flags and calls a command.

    Exit status: 0 done, 2 wrong usage, 1 wrong data; either with one sentence on
    the standard error and no traceback.

    Args:
        main: Function of the remaining arguments.
    """
    app.run(lambda argv: _guarded(main, argv), flags_parser=_parse)


def _parse(argv):
    try:
        return flags.FLAGS(argv)
    except flags.Error as error:
        _fail(f"{error} (--help lists the flags).", 2)


def _guarded(main, argv):
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
