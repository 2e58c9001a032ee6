"""The command, killed in the midst of writing, and where the disk is full."""

import os
import resource
import signal
import sys
from unittest import mock

from forks import run_module

from deml_tf.bulk import whole_file


def embed_and_die(files, *flags):
    """Runs `deml_tf.embed` until so many files are written, and half of one more."""
    hidden_folder, written = whole_file.hidden_folder, []

    def counted(path):
        written.append(path)
        if len(written) > files:
            path.parent.mkdir(parents=True, exist_ok=True)
            with hidden_folder(path) as folder:
                (folder / "file").write_bytes(b"PAR1 half")
                os.kill(os.getpid(), signal.SIGKILL)
        return hidden_folder(path)

    with mock.patch.object(whole_file, "hidden_folder", counted):
        run_module("deml_tf.embed", *flags)
    sys.exit("it was to be killed")


def embed_limited(size, *flags):
    """Runs `deml_tf.embed` where no file may grow beyond `size` bytes."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
    run_module("deml_tf.embed", *flags)
