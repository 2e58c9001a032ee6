"""Processes that begin where the imports end: forks of one that only imported.

`python -m deml_tf.train` spends its first seconds importing TensorFlow. A fork of a
process that has imported it, and has not used it, is otherwise the same; that it says
the same is tested in `bad_input/test_bad_input.py`.
"""

import atexit
import gc
import multiprocessing
import os
import runpy
import signal
import sys
import tempfile
import threading
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
COMMANDS = ("train", "evaluate", "export", "compare", "audit", "launch", "data_service")
COMMANDS += ("study", "embed", "index")
LAZY = ("client.__main__", "client.grpc_transport", "data.sets.tfds_reader")
LAZY += ("search.__main__",)

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload([f"deml_tf.{name}" for name in COMMANDS + LAZY])


class Fork:
    """A function in a fork, with what tests use of `subprocess.Popen`.

    Args:
        function: a function of a module that can be imported.
        *arguments: its arguments.
        folder: where it runs.
        environment: all of its variables; those read while importing come too late.
        longest: seconds, then an alarm ends it.
    """

    def __init__(
        self,
        function,
        *arguments,
        folder=ROOT,
        environment=os.environ,
        longest=600,
    ):
        reader, writer = CONTEXT.Pipe(duplex=False)
        number, errors = tempfile.mkstemp()  # the fork removes the name
        self._errors = os.fdopen(number)
        place = (str(folder), dict(environment), longest, writer, errors)
        self._process = CONTEXT.Process(
            target=_enter, args=(place, function, arguments)
        )
        self._process.start()
        writer.close()
        self.stdout = os.fdopen(os.dup(reader.fileno()))
        reader.close()

    def poll(self):
        return self._process.exitcode

    @property
    def returncode(self):
        return self._process.exitcode

    def send_signal(self, number):
        if self.poll() is None:
            os.kill(int(str(self._process.pid)), number)

    def kill(self):
        self.send_signal(signal.SIGKILL)

    def communicate(self):
        """What is left of the output, and the errors, when it has ended."""
        output = self.stdout.read()
        self._process.join()
        with self._errors:
            return output, self._errors.read()


def run_module(name, *flags):
    """Goes on as `python -m NAME FLAGS`."""
    sys.path[0] = os.getcwd()  # as -m does
    for each in (name, f"{name}.__main__"):
        if not hasattr(sys.modules.get(each), "__path__"):
            sys.modules.pop(each, None)  # or runpy warns that it runs twice
    sys.argv = [name, *flags]
    runpy.run_module(name, run_name="__main__", alter_sys=True)


def _enter(place, function, arguments):
    folder, environment, longest, output, errors = place
    gc.freeze()  # or a collection would copy every page of what was imported
    signal.alarm(longest)
    # Ignored where the tests run in the background, and so it would be here.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(output.fileno(), 1)
    os.dup2(os.open(errors, os.O_WRONLY | os.O_APPEND), 2)
    os.remove(errors)
    output.close()
    # Those of the start know that it had others: files, perhaps.
    sys.stdout = open(1, "w", closefd=False)
    sys.stderr = open(2, "w", buffering=1, closefd=False)
    atexit._clear()  # what the imports registered is for the server's end
    try:
        function(*arguments)
    finally:
        threading._shutdown()  # as a program does at its end; a fork ends by os._exit
        atexit._run_exitfuncs()
