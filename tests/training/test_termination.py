"""SIGTERM loses only the step under way, and a resumed run ends as an undisturbed one.

`DEML_TF_KILLS` and `DEML_TF_KILL_SEED` say how often and when the long test kills.
"""

import os
import random
import re
import signal
import subprocess
import sys
import time
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from forks import Fork
from small_backbone import run_command

from deml_tf.cli import termination
from deml_tf.launch import what_failed
from deml_tf.runs.folder import RunFolder
from deml_tf.training import worker_processes
from deml_tf.training.worker_processes import free_addresses, tf_config

KILLS = int(os.environ.get("DEML_TF_KILLS", "10"))
STEPS = 60
# A checkpoint comes of SIGTERM alone, or at the end.
FLAGS = [f"--steps={STEPS}", "--evaluate_every=7", f"--checkpoint_every={STEPS}"]
FLAGS += ["--scales=1"]
ON = {"one": (1, []), "two replicas": (1, ["--logical_cpus=2"]), "two workers": (2, [])}


def begin(count, flags):
    """Starts a training on so many workers."""
    if count == 1:
        return [Fork(run_command, "deml_tf.train", *flags)]
    addresses = free_addresses(count)
    return [
        Fork(
            run_command,
            "deml_tf.train",
            *flags,
            environment=os.environ | {"TF_CONFIG": tf_config(rank, addresses)},
        )
        for rank in range(count)
    ]


def end(processes):
    """Waits for all; gives their statuses, outputs and errors."""
    said = [process.communicate() for process in processes]
    return [p.returncode for p in processes], *zip(*said, strict=True)


def last_step(run):
    return max((r["step"] for r in run.metrics() if "loss" in r), default=0)


def saved_step(run):
    newest = tf.train.latest_checkpoint(run.checkpoints_path)
    return int(newest.rpartition("-")[2]) if newest else 0


def state(run):
    """All that the last checkpoint and the embedder hold."""
    newest = tf.train.latest_checkpoint(run.checkpoints_path)
    reader = tf.train.load_checkpoint(newest)
    found = {
        name: reader.get_tensor(name)
        for name in reader.get_variable_to_shape_map()
        if name != "_CHECKPOINTABLE_OBJECT_GRAPH" and "save_counter" not in name
    }
    embedder: Any = keras.saving.load_model(run.embedder_path)
    return found | {v.path: v.numpy() for v in embedder.variables}


def kill(processes, run, target, chance):
    """Sends SIGTERM some moment after a step; gives the seconds until all ended."""
    target = max(target, saved_step(run) + 1)  # in the midst of the training
    while last_step(run) < target and all(p.poll() is None for p in processes):
        time.sleep(0.005)
    time.sleep(chance.uniform(0.0, 0.3))
    assert all(p.poll() is None for p in processes), end(processes)
    done = last_step(run)
    sent = time.monotonic()
    first, *others = chance.sample(processes, chance.randint(1, len(processes)))
    first.send_signal(signal.SIGTERM)
    later = last_step(run)
    for process in others:
        time.sleep(chance.uniform(0.0, 0.1))
        process.send_signal(signal.SIGTERM)
    statuses, _, errors = end(processes)
    seconds = time.monotonic() - sent
    assert set(statuses) == {termination.STATUS}, errors
    assert all("error: Terminated; the same command goes on" in e for e in errors)
    assert not any("Traceback" in e for e in errors)
    # What was logged was saved, and the step under way was the last.
    saved = saved_step(run)
    assert last_step(run) == saved and done <= saved <= later + 1
    return seconds


def disturbed(setup, flags, folder, kills, seed="0"):
    """Trains undisturbed and killed so many times; gives both runs and the seconds."""
    count, own = ON[setup]
    calm, killed = RunFolder(folder / "calm"), RunFolder(folder / "killed")
    flags = [*flags, *FLAGS, "--log_every=1", *own]
    statuses, _, errors = end(begin(count, [*flags, f"--run_dir={calm.path}"]))
    assert set(statuses) == {0}, errors
    chance, seconds = random.Random(seed), []
    flags.append(f"--run_dir={killed.path}")
    for number in range(kills):
        target = 1 + (STEPS - 25) * (number + chance.random()) / kills
        seconds.append(kill(begin(count, flags), killed, target, chance))
        print(f"\n{setup}: killed at step {saved_step(killed)}, {seconds[-1]:.1f} s")
    statuses, outputs, errors = end(begin(count, flags))
    assert set(statuses) == {0}, errors
    assert re.search(f"Going on from step [0-9]+ of {STEPS}", outputs[0])
    return calm, killed, seconds


def check_equal(calm, killed):
    wanted, found = state(calm), state(killed)
    assert wanted.keys() == found.keys()
    for name, value in wanted.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)
    timed = {"seconds", "images_per_second"}
    for ours, theirs in zip(killed.metrics(), calm.metrics(), strict=True):
        assert {n: v for n, v in ours.items() if n not in timed} == {
            n: v for n, v in theirs.items() if n not in timed
        }
    scores = [run.read_json("results.json")["test"] for run in (calm, killed)]
    assert scores[0] == scores[1]


@pytest.mark.long
@pytest.mark.parametrize("setup", ON)
def test_ten_times_at_random_moments(setup, tiny_flags, tmp_path, capsys):
    seed = os.environ.get("DEML_TF_KILL_SEED", "0")
    with capsys.disabled():
        calm, killed, seconds = disturbed(setup, tiny_flags, tmp_path, KILLS, seed)
        check_equal(calm, killed)
        print(f"{setup}: {KILLS} kills, the slowest end {max(seconds):.1f} s after")


@pytest.mark.slow
def test_once(tiny_flags, tmp_path):
    check_equal(*disturbed("one", tiny_flags, tmp_path, 1)[:2])


def launch():
    """`run_workers` with workers that end as a training does."""
    child = (
        "import os, signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))\n"
        "os.write(1, b'up\\n')\n"  # at once: the two share the pipe
        "time.sleep(60)\n"
    )
    worker_processes.start_worker = lambda *_: subprocess.Popen(
        [sys.executable, "-c", child]
    )
    termination.listen()
    try:
        worker_processes.run_workers(2, [])
    except termination.Terminated:
        print("all ended", flush=True)


def one_is_killed():
    """`run_workers` with a worker that is killed, and one that would wait for it."""
    worker_processes._PATIENCE = 0.5
    worker_processes.start_worker = lambda rank, *_: subprocess.Popen(
        [
            sys.executable,
            "-c",
            f"import os, time\ntime.sleep({60 * (not rank)})\nos.kill(os.getpid(), 9)",
        ]
    )
    print(worker_processes.run_workers(2, []), flush=True)


def test_launch_tells_what_was_killed_from_what_it_ended():
    output, errors = Fork(one_is_killed).communicate()
    assert output == "[None, -9]\n", errors


def test_ctrl_c_reaches_workers_through_launch_alone(monkeypatch):
    monkeypatch.setattr(sys, "executable", "/bin/true")
    with worker_processes.start_worker(0, free_addresses(1), []) as worker:
        assert os.getpgid(worker.pid) == worker.pid


@pytest.mark.parametrize(
    ("status", "said"),
    [
        ([1, -9], "Worker 1 of 2 was killed by SIGKILL"),
        ([None, -11], "Worker 1 of 2 was killed by SIGSEGV"),
        ([0, 1], "Worker 1 of 2 ended with status 1: see what it said above"),
        ([1, 2, 0], "Worker 1 of 3 ended with status 2: see what it said above"),
    ],
)
def test_launch_names_the_worker_that_failed(status, said):
    assert what_failed(status) == said


def test_launch_waits_for_its_workers():
    process = Fork(launch)
    assert [process.stdout.readline() for _ in range(2)] == ["up\n"] * 2
    process.send_signal(signal.SIGTERM)
    output, errors = process.communicate()  # which ends when no child holds it
    assert output == "all ended\n", errors


@pytest.mark.long
def test_launch_passes_it_on(start, tiny_flags, tmp_path):
    run = RunFolder(tmp_path / "run")
    # Its workers know the package's own backbones alone.
    flags = [*tiny_flags, "--backbone=efficientnet_lite0", "--scales=1", "--steps=999"]
    flags += ["--log_every=1", "--validation_classes=0", f"--run_dir={run.path}"]
    process = start("launch", "--workers=2", "--restarts=3", "--", *flags)
    while last_step(run) < 2:
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate()
    assert process.returncode == termination.STATUS, errors
    assert errors.count("error: Terminated; the same command goes on") == 3, errors
    assert saved_step(run) == last_step(run) >= 2
    RunFolder.open(run.path, run.flags()).close()  # nobody holds it


SIGNALS = [signal.SIGTERM, signal.SIGHUP]


def wait_for_ever(deferred):
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # ignored under nohup
    termination.listen()
    try:
        if deferred:
            with termination.deferred():
                print("waiting", flush=True)
                while not termination.asked():
                    time.sleep(0.01)
                print("asked", flush=True)
        else:
            print("waiting", flush=True)
            time.sleep(60)
    except termination.Terminated:
        print("ended", flush=True)


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("deferred", [True, False])
def test_it_interrupts_unless_deferred(deferred, number):
    process = Fork(wait_for_ever, deferred)
    assert process.stdout.readline() == "waiting\n"
    process.send_signal(number)
    output, errors = process.communicate()
    assert output == "asked\n" * deferred + "ended\n", errors


def closed_twice():
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    termination.listen()
    try:
        signal.raise_signal(signal.SIGHUP)
    except termination.Terminated:
        signal.raise_signal(signal.SIGHUP)
        print("tidied up", flush=True)


def test_a_terminal_that_closes_does_not_disturb_the_end():
    output, errors = Fork(closed_twice).communicate()
    assert output == "tidied up\n", errors


def under_nohup():
    for number in (signal.SIGHUP, signal.SIGINT):  # as for a job in the background
        signal.signal(number, signal.SIG_IGN)
    termination.listen()
    signal.raise_signal(signal.SIGHUP)
    with termination.at_once():
        signal.raise_signal(signal.SIGHUP)
        signal.raise_signal(signal.SIGINT)
    print("goes on", termination.asked(), flush=True)


def test_under_nohup_a_closed_terminal_is_nothing():
    output, errors = Fork(under_nohup).communicate()
    assert output == "goes on False\n", errors


def wait_in_one_call():
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    termination.listen()
    with termination.at_once():
        print("waiting", flush=True)
        signal.pause()


@pytest.mark.parametrize("number", [*SIGNALS, signal.SIGINT])
def test_it_ends_what_waits_elsewhere(number):
    process = Fork(wait_in_one_call)
    assert process.stdout.readline() == "waiting\n"
    process.send_signal(number)
    process.communicate()
    assert process.returncode == -number
