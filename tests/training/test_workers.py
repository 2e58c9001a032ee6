"""Whole trainings on two workers, on other numbers of replicas, through a service."""

import os
import re
import shutil
import signal
from typing import Any

import keras
import numpy as np
import pytest
from forks import Fork
from small_backbone import run_command

import deml_tf.data.service
from deml_tf.data.address import EXPOSED
from deml_tf.runs.folder import RunFolder
from deml_tf.training.cluster import read_cluster
from deml_tf.training.journal import Journal
from deml_tf.training.worker_processes import free_addresses, tf_config
from deml_tf.training.workers import Workers

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def flags(tiny_flags):
    """A training whose rounding stays small: no BatchNorm to be trained, few steps."""
    return [
        *tiny_flags,
        "--validation_classes=0",
        "--batch_norm=frozen",
        "--scales=1",
        "--classes_per_batch=4",
        "--learning_rate=1e-4",
        "--clip_norm=1",
        "--steps=12",
        "--log_every=1",
        "--checkpoint_every=3",
    ]


def weights(run):
    embedder: Any = keras.saving.load_model(run.embedder_path)
    return {v.path: v.numpy() for v in embedder.variables}


def losses(run):
    return [record["loss"] for record in run.metrics() if "loss" in record]


def check_losses(found, wanted):
    """By step: rounding, in float32, grows from step to step on one device as well.

    What `test_replicas.py` shows of ten steps it shows in float64.
    """
    assert len(found) == len(wanted) == 12
    assert found[:5] == pytest.approx(wanted[:5], rel=1e-5)
    assert found == pytest.approx(wanted, rel=1e-3)


@pytest.fixture(scope="module")
def one(command, flags, tmp_path_factory):
    """The same training on one replica."""
    run = RunFolder(tmp_path_factory.mktemp("one") / "run")
    status, _, errors = command("train", *flags, f"--run_dir={run.path}")
    assert status == 0, errors
    return run


def begin_two(flags, other=run_command):
    """Starts a training on two workers, the chief and the other."""
    addresses = free_addresses(2)
    return [
        Fork(
            (run_command, other)[rank],
            "deml_tf.train",
            *flags,
            environment=os.environ | {"TF_CONFIG": tf_config(rank, addresses)},
        )
        for rank in range(2)
    ]


@pytest.fixture(scope="module")
def two(flags, tmp_path_factory):
    """The same training on two workers."""
    run = RunFolder(tmp_path_factory.mktemp("two") / "run")
    chief, worker = begin_two([*flags, f"--run_dir={run.path}"])
    said, other = chief.communicate(), worker.communicate()
    assert chief.returncode == 0, "\n".join(said)
    assert worker.returncode == 0, "\n".join(other)
    assert "train: " in said[0]
    assert "Worker 1 of 2" in other[0] and "train: " not in other[0]
    return run


def test_two_workers_equal_one(one, two):
    check_losses(losses(two), losses(one))
    assert weights(two).keys() == weights(one).keys()
    assert two.read_json("results.json")["train"]["replicas"] == 2


def meet_and_leave():
    workers = Workers.start("auto", None, read_cluster())
    workers.agree(7)
    with workers.lost_one_explained():
        workers.leave()


@pytest.mark.long
def test_who_leaves_first_is_not_taken_for_lost():
    """With one meeting in place of two, the chief failed in 5 of 30 tries."""
    for _ in range(40):
        addresses = free_addresses(2)
        two = [
            Fork(
                meet_and_leave,
                environment=os.environ | {"TF_CONFIG": tf_config(rank, addresses)},
            )
            for rank in range(2)
        ]
        said = [process.communicate()[1] for process in two]
        assert [process.returncode for process in two] == [0, 0], "\n".join(said)


def train_and_die(module, *flags):
    """A training that is killed at its sixth step."""
    begin_batch = Journal.on_train_batch_begin

    def begin_or_die(self, batch, logs=None):
        if self.step == 5:
            os.kill(os.getpid(), signal.SIGKILL)
        begin_batch(self, batch, logs)

    Journal.on_train_batch_begin = begin_or_die
    run_command(module, *flags)


@pytest.fixture(scope="module")
def killed(flags, tmp_path_factory):
    """A training on two workers, one of them killed after step 5, and its errors."""
    run = RunFolder(tmp_path_factory.mktemp("killed") / "run")
    chief, worker = begin_two([*flags, f"--run_dir={run.path}"], train_and_die)
    (_, errors), other = chief.communicate(), worker.communicate()
    assert worker.returncode == -signal.SIGKILL, "\n".join(other)
    assert chief.returncode == 1 and len(losses(run)) == 5, errors
    return run, errors


def copy_of(run, folder):
    """Another run that stands where that one does."""
    shutil.copytree(run.path, folder)
    return RunFolder(folder)


def test_a_killed_worker_ends_the_other(killed):
    run, errors = killed
    assert "lost another one" in errors and "same command" in errors
    assert "Traceback (most" not in errors.partition("error: Worker")[0]
    assert not run.finished


@pytest.mark.long
def test_a_restart_goes_on(flags, two, killed, tmp_path):
    run = copy_of(killed[0], tmp_path / "run")
    chief, worker = begin_two([*flags, f"--run_dir={run.path}"])
    (output, errors), other = chief.communicate(), worker.communicate()
    assert chief.returncode == 0, errors
    assert worker.returncode == 0, "\n".join(other)
    assert "Going on from step" in output
    undisturbed, resumed = weights(two), weights(run)
    for name, value in undisturbed.items():
        np.testing.assert_array_equal(resumed[name], value, err_msg=name)


@pytest.mark.parametrize("replicas", [1, pytest.param(4, marks=pytest.mark.long)])
def test_a_checkpoint_goes_on_with_another_number_of_replicas(
    replicas, command, flags, one, killed, tmp_path
):
    run = copy_of(killed[0], tmp_path / "run")
    flags = [*flags, f"--run_dir={run.path}"]
    status, output, errors = command("train", *flags, f"--logical_cpus={replicas}")
    assert status == 0, errors
    assert "Going on from step" in output
    assert run.read_json("results.json")["train"]["replicas"] == replicas
    check_losses(losses(run), losses(one))


def train_and_count(*flags):
    """A training that says which batches it has from a data service."""
    in_order = deml_tf.data.service._in_order

    def counted(served, numbers, address):
        batches = in_order(served, numbers, address)
        for number, batch in zip(numbers, batches, strict=True):
            print(f"served {number}.", flush=True)
            yield batch

    deml_tf.data.service._in_order = counted
    run_command("deml_tf.train", *flags)


def test_a_data_service_changes_nothing(start, flags, one, tmp_path):
    service = start("data_service", "--port=0")
    more = None
    try:
        address = service.stdout.readline().rpartition("=")[2].strip()
        assert service.stdout.readline() == f"{EXPOSED}\n"
        more = start("data_service", "--port=0", f"--dispatcher={address}")
        assert more.stdout.readline().startswith("Serving for")
        run = RunFolder(tmp_path / "served")
        where = [f"--run_dir={run.path}", f"--data_service={address}"]
        training = Fork(train_and_count, *flags, *where)
        output, errors = training.communicate()
        assert training.returncode == 0, errors
        served = re.findall(r"served ([0-9]+)\.", output)
        assert [int(number) for number in served] == [*range(12)]
        for name, value in weights(one).items():
            np.testing.assert_array_equal(weights(run)[name], value, err_msg=name)
    finally:
        for process in (service, more):
            if process:
                process.kill()
                process.communicate()


def test_launch_trains_on_workers(command, flags, tmp_path):
    """In processes of their own, which know the package's backbones alone."""
    run = RunFolder(tmp_path / "run")
    own = ["--backbone=efficientnet_lite0", "--learners=1", "--decoupling=none"]
    own += ["--embedding_dim=8", "--steps=1", f"--run_dir={run.path}"]
    status, output, errors = command("launch", "--workers=2", "--", *flags, *own)
    assert status == 0, errors
    assert "Worker 1 of 2" in output and output.count(EXPOSED) == 2
    assert run.read_json("results.json")["train"]["replicas"] == 2


def test_launch_passes_a_mistake_on(command):
    # A mistake in flags, launch itself finds: tests/bad_input.
    status, _, errors = command("launch", "--restarts=9", "--", "--dataset=folder")
    assert status == 2 and "--data_dir is missing" in errors
    assert "error: Worker 0 of 2 ended with status 2: see" in errors
