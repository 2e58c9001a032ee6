"""How every command starts and how it ends on a user's mistake."""

import sys

from absl import app, flags, logging
from rich.console import Console

from deml_tf.cli.disk import explain_disk
from deml_tf.cli.parsing import parse, sentence
from deml_tf.errors import DataError, UsageError


def run(main, interrupted="Interrupted.", hint="see --help for all"):
    """Parses the flags and calls a command.

    Exit status: 0 done, 2 wrong usage, 1 wrong data; either with one sentence on
    the standard error and no traceback.

    Args:
        main: Function of the remaining arguments.
        interrupted: What to say to Ctrl-C, which exits with 130.
        hint: What to do about an unknown flag.
    """
    _introduce(main.__module__)
    app.run(
        lambda argv: _guarded(main, argv, interrupted),
        flags_parser=lambda argv: _parse(argv, hint),
    )


def console():
    """Where tables go: as wide as the terminal, or wide enough where there is none."""
    found = Console()
    return found if found.is_terminal else Console(width=120)


def _introduce(module):
    """Has --help say of a console script what it says of `python -m MODULE`.

    absl describes the main module, which there is a stub of pip's.
    """
    sys.modules["__main__"].__doc__ = sys.modules[module].__doc__
    for flag in flags.FLAGS.get_flags_for_module(module):
        flags.FLAGS.register_key_flag_for_module(sys.argv[0], flag)


def _parse(argv, hint):
    try:
        return parse(flags.FLAGS, argv, hint=hint)
    except UsageError as error:
        _fail(error, 2)


def _guarded(main, argv, interrupted):
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
        _fail(KeyboardInterrupt(interrupted), 130)
    except Exception as error:
        explained = explain_disk(error)
        if not explained:
            raise
        _fail(explained, 1)


def _fail(error, status):
    print(f"error: {sentence(error, flags.FLAGS)}", file=sys.stderr)
    sys.exit(status)
