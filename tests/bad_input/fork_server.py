"""Runs commands in forks of a process that has TensorFlow imported, not yet used.

A fresh `python -m deml_tf.train` spends its first seconds importing; a fork begins
where those end, and is otherwise the same. Jobs come as lines of JSON on the standard
input; each is answered by a line with the exit status.
"""

import gc
import json
import os
import runpy
import signal
import sys
from pathlib import Path

import deml_tf.compare
import deml_tf.data_service
import deml_tf.evaluate
import deml_tf.launch
import deml_tf.train  # noqa: F401

LONGEST = 120  # seconds, then the alarm ends the command


def serve():
    gc.freeze()  # so that forks need not copy what they only look at
    for line in sys.stdin:
        job = json.loads(line)
        child = os.fork()
        if not child:
            status = become(**job)
            sys.stdout.flush()
            os._exit(status)  # taking TensorFlow down again costs most of a fork
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def become(module, flags, environment, folder, output):
    """Goes on as `python -m deml_tf.MODULE FLAGS`, started in a folder.

    Gives the exit status; what else than an exit is raised ends as a traceback.
    """
    signal.alarm(LONGEST)
    os.environ.update(environment)
    os.chdir(folder)
    sys.path[0] = folder  # as -m does
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for number, name in ((1, "stdout"), (2, "stderr")):
        path = Path(output, name)
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    name = f"deml_tf.{module}"
    del sys.modules[name]  # or runpy warns that it runs twice
    sys.argv = [name, *flags]
    try:
        runpy.run_module(name, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        return end.code or 0
    return 0


if __name__ == "__main__":
    serve()
