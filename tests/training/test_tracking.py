"""The journal, forwarded to a tracker: with stand-ins for the trackers' packages."""

import importlib
import json
import types

import pytest

from deml_tf.config import DistributionConfig
from deml_tf.errors import DataError, UsageError
from deml_tf.runs.folder import RunFolder
from deml_tf.runs.settings import read_settings
from deml_tf.training import tracking
from deml_tf.training.start import train
from deml_tf.training.tracking import load_tracker, tracked


class StandIn:
    """Keeps what both packages are asked for."""

    def __init__(self):
        self.asked = []
        self.broken = False

    # of mlflow
    def start_run(self, run_id=None, run_name=None):
        self.asked.append(("start", run_id, run_name))
        return types.SimpleNamespace(info=types.SimpleNamespace(run_id="one"))

    def log_params(self, flags):
        self.asked.append(("flags", flags))

    def log_metrics(self, record, step):
        if self.broken:
            raise OSError("no route\nto host")
        self.asked.append((step, record))

    def end_run(self):
        self.asked.append("end")

    # of wandb
    def init(self, name, config, id, resume):
        self.asked.append(("start", id, name, config, resume))
        return types.SimpleNamespace(
            id="one", log=self.log_metrics, finish=self.end_run
        )


@pytest.fixture
def package(monkeypatch):
    found = StandIn()
    real = importlib.import_module

    def load(name):
        return found if name in ("mlflow", "wandb") else real(name)

    monkeypatch.setattr(tracking.importlib, "import_module", load)
    return found


@pytest.fixture
def run(tmp_path):
    opened = RunFolder.open(tmp_path / "birds", {"steps": 3})
    yield opened
    opened.close()


def test_mlflow_gets_the_numbers_and_the_flags(package, run):
    with tracked("mlflow", run, {"steps": 3}) as forward:
        forward(1, {"loss": 2.0})
    first = [("start", None, "birds"), ("flags", {"steps": 3}), (1, {"loss": 2.0})]
    assert package.asked == [*first, "end"]
    with tracked("mlflow", run, {"steps": 3}) as forward:  # goes on
        forward(2, {"loss": 1.0})
    assert package.asked[4:] == [("start", "one", None), (2, {"loss": 1.0}), "end"]
    kept = json.loads((run.path / "tracking.json").read_bytes())
    assert kept == {"mlflow": "one"}


def test_wandb_gets_the_numbers_and_the_flags(package, run):
    for known in (None, "one"):
        package.asked.clear()
        with tracked("wandb", run, {"steps": 3}) as forward:
            forward(1, {"loss": 2.0})
        begun = ("start", known, "birds", {"steps": 3}, "allow")
        assert package.asked == [begun, (1, {"loss": 2.0}), "end"]


def test_no_tracker(run):
    with tracked(None, run, {}) as forward:
        assert forward is None
    assert not (run.path / "tracking.json").exists()


def test_a_tracker_that_fails_is_left_out(package, run, capsys):
    with tracked("mlflow", run, {}) as forward:
        package.broken = True
        forward(1, {"loss": 2.0})
        package.broken = False
        forward(2, {"loss": 1.0})
    assert package.asked[2:] == ["end"]
    said = capsys.readouterr().out
    assert said.count("WARNING: mlflow fails (no route") == 1


def test_it_is_closed_after_an_error(package, run):
    with pytest.raises(ValueError, match="mine"), tracked("wandb", run, {}):
        raise ValueError("mine")
    assert package.asked[-1] == "end"


def test_a_tracker_that_does_not_take_the_run(package, run):
    def refuse(**arguments):
        raise OSError("log in first")

    package.init = refuse
    words = "track=wandb does not take the run .*log in first"
    with pytest.raises(DataError, match=words), tracked("wandb", run, {}):
        pytest.fail("the training began")


def test_without_the_package(monkeypatch):
    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr(tracking.importlib, "import_module", missing)
    with pytest.raises(UsageError, match=r"pip install 'deml_tf\[wandb\]'"):
        load_tracker("wandb")


@pytest.mark.slow
@pytest.mark.usefixtures("small_backbone")
def test_a_training_forwards_its_journal(package, tiny_flags, tmp_path):
    flags = [*tiny_flags, "--steps=2", "--evaluate_every=2", "--log_every=1"]
    flags += ["--nodeterministic"]
    flags += ["--validation_classes=0.5", f"--run_dir={tmp_path / 'run'}"]
    train(read_settings(flags), DistributionConfig(track="mlflow"))
    (name, _, title), (_, given), *numbers, last = package.asked
    assert (name, title, last) == ("start", "run", "end")
    assert given["steps"] == 2 and None not in given.values()
    journal = RunFolder(tmp_path / "run").metrics()
    assert numbers == [
        (line["step"], {k: v for k, v in line.items() if k not in ("step", "epoch")})
        for line in journal
    ]
    assert any("validation_map_at_r" in record for _, record in numbers)
