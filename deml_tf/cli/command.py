"""How every command starts, and how it ends when the user made a mistake."""

import io
import os
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Any

from absl import app, flags, logging
from rich.console import Console

from deml_tf.cli import termination
from deml_tf.cli.error_text import explain_disk, explain_memory, sentence
from deml_tf.cli.parsing import parse
from deml_tf.cli.printing import say
from deml_tf.errors import DataError, UsageError

_UNREAD = 128 + signal.SIGPIPE


def run(
    main: Callable[[list[str]], object],
    interrupted: str = "Interrupted.",
    hint: str = "see --help for all",
) -> None:
    """Parse the flags and call a command.

    The exit status is 0 after success or help, 2 for wrong usage, 1 for wrong data, 130
    after Ctrl-C and 143 after SIGTERM or SIGHUP; all but the first come with one
    sentence on the standard error and no traceback. It is 141, without a message, if
    nobody reads the standard output any more.

    Args:
        main: Function of the arguments that are not flags.
        interrupted: What to say after Ctrl-C; begins with "Interrupted", which becomes
            "Terminated" after SIGTERM.
        hint: What to do about an unknown flag.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # whatever the locale can write
            stream.reconfigure(errors="backslashreplace")
    _introduce(main.__module__)
    app.run(
        lambda argv: _guarded(main, argv, interrupted),
        flags_parser=lambda argv: _parse(argv, hint),
    )


def no_words(arguments: Sequence[str]) -> None:
    """Refuse arguments that are not flags.

    Args:
        arguments: What a command's `main` gets.

    Raises:
        UsageError: There are some.
    """
    if arguments:
        raise UsageError(f"{arguments[0]!r} is no flag: flags start with --.")


def console() -> Console:
    """Return where tables go: as wide as the terminal, or 120 columns without one.

    Texts in a table are not markup: [brackets] and :names: are printed as they are.
    """
    plain: Any = {"markup": False, "emoji": False, "highlight": False}
    found = Console(**plain)
    return found if found.is_terminal else Console(width=120, **plain)


def _introduce(module: str) -> None:
    """Have --help of a console script say the same as that of `python -m MODULE`.

    absl describes the main module, which for a console script is pip's stub.
    """
    sys.modules["__main__"].__doc__ = sys.modules[module].__doc__
    for flag in flags.FLAGS.get_flags_for_module(module):
        flags.FLAGS.register_key_flag_for_module(sys.argv[0], flag)


def _parse(argv: Sequence[str], hint: str) -> list[str]:
    try:
        return parse(flags.FLAGS, argv, hint=hint)
    except UsageError as error:
        _fail(error, 2)
        raise


def _guarded(
    main: Callable[[list[str]], object], argv: Sequence[str], interrupted: str
) -> None:
    if not flags.FLAGS["verbosity"].present:
        # TensorFlow logs each checkpoint's timing at the level absl shows by default.
        logging.set_verbosity(logging.WARNING)
    try:
        termination.listen()
        main(list(argv[1:]))
        if sys.stdout:
            sys.stdout.flush()
    except BrokenPipeError:
        if not _is_unread():
            raise
        # Otherwise the interpreter's last flush would fail too.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(_UNREAD)
    except SystemExit as error:
        # rich ends a program in this way, after muting the standard output.
        if isinstance(error.__context__, BrokenPipeError):
            sys.exit(_UNREAD)
        raise
    except UsageError as error:
        _fail(error, 2)
    except DataError as error:
        _fail(error, 1)
    except termination.Terminated:
        said = interrupted.replace("Interrupted", "Terminated", 1)
        _fail(KeyboardInterrupt(said), termination.STATUS)
    except KeyboardInterrupt:
        _fail(KeyboardInterrupt(interrupted), 130)
    except Exception as error:
        explained = explain_disk(error) or explain_memory(error)
        if not explained:
            raise
        _fail(explained, 1)


def _is_unread() -> bool:
    """Tell whether the reader of the standard output, such as `head`, is gone."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        return True
    return False


def _fail(error: BaseException, status: int) -> None:
    say(f"error: {sentence(error, flags.FLAGS)}", sys.stderr)
    sys.exit(status)
