"""How often `deml_tf.launch` starts its workers again, and past which proxy."""

import re
import subprocess
from contextlib import nullcontext
from types import SimpleNamespace
from unittest import mock

import pytest

from deml_tf import launch
from deml_tf.errors import DataError, UsageError
from deml_tf.training.worker_processes import start_worker

AGAIN = pytest.raises(DataError, match="status 1.* goes on from the last checkpoint")
MEND = pytest.raises(UsageError, match="status 2.* mend its flags")


@pytest.mark.parametrize(
    ("restarts", "ends", "outcome"),
    [
        (2, [[1, 0], [1, 0], [0, 0]], nullcontext()),
        (1, [[1, 0], [1, 0]], AGAIN),
        (0, [[0, 1]], AGAIN),
        (9, [[2, 0]], MEND),
    ],
)
def test_restarts(restarts, ends, outcome, monkeypatch, capsys):
    given = SimpleNamespace(workers=2, restarts=restarts)
    run_workers = mock.Mock(side_effect=ends)
    monkeypatch.setattr(launch, "FLAGS", given)
    monkeypatch.setattr(launch, "check", lambda arguments: None)
    monkeypatch.setattr(launch, "run_workers", run_workers)
    with outcome:
        launch.main(["--steps=1"])
    assert run_workers.call_args_list == [mock.call(2, ["--steps=1"])] * len(ends)
    assert re.findall(r"again \(restart (.*)\)\.", capsys.readouterr().out) == [
        f"{n} of {restarts}" for n in range(1, len(ends))
    ]


def test_workers_find_each_other_past_a_proxy(monkeypatch):
    monkeypatch.setattr(subprocess, "Popen", popen := mock.Mock())
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("no_grpc_proxy", "a.example")
    start_worker(0, ["127.0.0.1:2"], [])
    found = popen.call_args.kwargs["env"]["no_grpc_proxy"]
    assert found == "a.example,localhost,127.0.0.1"
