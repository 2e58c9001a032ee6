"""Runs steps and passes on request: `python -m benchmarks.torch_twin.worker`.

Reads one JSON object per line. A `session.Setting` drops the model before, builds one,
runs it twice and answers {"ready": true, "parameters": N}; {"run": true} runs it once
and answers {"seconds": s}. The end of the input ends it.
"""

import ctypes
import json
import os
import sys
import time

import torch

from benchmarks.torch_twin.session import Session, Setting, release

WARM_UP = 2
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4  # from malloc.h


def main() -> None:
    """Answers requests until the input ends."""
    answers = _only_answers()
    _keep_memory()
    # As TensorFlow does; threads that start later inherit it.
    torch.set_flush_denormal(True)
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    session = None
    for line in sys.stdin:
        request = json.loads(line)
        if "run" in request:
            if session is None:
                raise ValueError("There is nothing to run: send a setting first.")
            start = time.perf_counter()
            session.run()
            answer = {"seconds": time.perf_counter() - start}
        else:
            session = None
            release()
            session = Session(Setting(**request))
            for _ in range(WARM_UP):
                session.run()
            answer = {"ready": True, "parameters": session.parameters}
        print(json.dumps(answer), file=answers, flush=True)


def _only_answers():
    """Returns a file on standard output; other output now goes to standard error."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return answers


def _keep_memory() -> None:
    """Has malloc of the GNU C library keep freed memory for the next step.

    Otherwise every large tensor is made of fresh pages, which the system fills with
    zeros one by one; PyTorch's tuning guide uses other allocators to avoid that.
    """
    tune = getattr(ctypes.CDLL(None), "mallopt", None)
    if tune is not None:
        tune(_M_MMAP_MAX, 0)
        tune(_M_TRIM_THRESHOLD, 2**31 - 1)
        tune(_M_TOP_PAD, 2**26)


if __name__ == "__main__":
    main()
