import fcntl
import json
import os
import signal
import time
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from absl import flags as absl_flags
from forks import Fork

from deml_tf.errors import DataError, UsageError
from deml_tf.runs.folder import RunFolder

FLAGS = {"seed": 0, "learning_rate": 1e-5, "name": "birds", "crop": None}


@pytest.fixture
def reopen(tmp_path):
    """Opens the run folder as a new process would, after the last one's end."""
    opened = []

    def open_run(flags=FLAGS):
        for run in opened:
            run.close()
        opened.append(RunFolder.open(tmp_path / "runs" / "first", flags))
        return opened[-1]

    yield open_run
    for run in opened:
        run.close()


def test_new_folder(reopen):
    run = reopen()
    text = run.flags_path.read_text()
    assert text == "--learning_rate=1e-05\n--name=birds\n--seed=0\n"
    assert run.flags() == {"learning_rate": "1e-05", "name": "birds", "seed": "0"}
    found = run.read_json("environment.json")
    assert found["python"].startswith("3.")
    assert set(found["packages"]) == {
        "tensorflow",
        "keras",
        "numpy",
        "faiss-cpu",
        "deml_tf",
    }
    assert found["packages"]["numpy"] == np.__version__
    assert found["cpu"] and found["cpu_count"] >= 1 and found["memory_gib"] > 0
    assert not run.finished
    paths = (run.checkpoints_path, run.tensorboard_path, run.embedder_path)
    assert all(path.parent == run.path for path in paths)


def test_same_flags_reopen_and_keep_everything(reopen):
    run = reopen()
    run.append_metrics({"step": 1})
    before = run.environment_path.read_bytes()
    again = reopen(dict(reversed(FLAGS.items())))
    assert again.metrics() == [{"step": 1}]
    assert again.environment_path.read_bytes() == before


@pytest.mark.parametrize(
    ("change", "shown"),
    [
        ({"seed": 1}, ["seed: 0 -> 1"]),
        ({"name": None}, ["name: birds -> (unset)"]),
        (
            {"crop": 200, "learning_rate": 1.0},
            ["crop: (unset) -> 200", "learning_rate: 1e-05 -> 1.0"],
        ),
    ],
)
def test_different_flags_are_refused(reopen, change, shown):
    before = reopen().flags_path.read_bytes()
    with pytest.raises(UsageError) as error:
        reopen({**FLAGS, **change})
    for part in [*shown, "runs/first", "run_dir="]:
        assert part in str(error.value)
    unchanged = {"seed", "name", "learning_rate"} - set(change)
    assert not any(f"{name}:" in str(error.value) for name in unchanged)
    assert (reopen()).flags_path.read_bytes() == before  # and the lock was given back


def test_how_many_images_are_embedded_at_once_may_change(reopen):
    reopen({**FLAGS, "scoring_batch_size": 512})
    assert (
        reopen({**FLAGS, "scoring_batch_size": 8}).flags()["scoring_batch_size"] == "8"
    )
    with pytest.raises(UsageError, match=r"\(seed: 0 -> 1\)"):
        reopen({**FLAGS, "scoring_batch_size": 8, "seed": 1})


def test_foreign_folder_is_refused_and_untouched(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(UsageError, match=r"thesis\.txt.*run_dir="):
        RunFolder.open(tmp_path, FLAGS)
    assert [entry.name for entry in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize("below", ["file", "file/run"])
def test_a_file_in_the_way_is_refused(tmp_path, below):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UsageError, match="run_dir="):
        RunFolder.open(tmp_path / below, FLAGS)


def test_empty_folder_and_one_killed_before_its_flags_are_taken(tmp_path):
    RunFolder.open(tmp_path, FLAGS).close()
    (tmp_path / "flags.cfg").rename(tmp_path / ".flags.cfg.0a1b.tmp")
    (tmp_path / "environment.json").unlink()
    run = RunFolder.open(tmp_path, FLAGS)
    run.close()
    names = {entry.name for entry in tmp_path.iterdir()}
    assert names == {".lock", "flags.cfg", "environment.json"}


def test_finished(reopen):
    run = reopen()
    run.write_json("results.json", {"seed": 0})
    assert reopen().finished and RunFolder(run.path).finished


def hold_the_lock(path):
    RunFolder.open(path, {})
    print("open", flush=True)
    time.sleep(60)


def test_lock_keeps_another_process_out_until_it_is_killed(tmp_path):
    process = Fork(hold_the_lock, tmp_path)
    try:
        assert process.stdout.readline() == "open\n"
        with pytest.raises(UsageError, match=f"{tmp_path}.*another process"):
            RunFolder.open(tmp_path, {})
    finally:
        process.kill()
        process.communicate()
    RunFolder.open(tmp_path, {}).close()


def test_lock_outlives_the_object(tmp_path):
    run = RunFolder.open(tmp_path, FLAGS)
    descriptor = run._lock
    assert descriptor is not None
    del run
    with (tmp_path / ".lock").open() as lock, pytest.raises(BlockingIOError):
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(descriptor)


@pytest.mark.parametrize(
    "torn", [b'{"step": 2, "lo', b'{"step": 2, "label": "\xc3', b"\0\0\0", b"{\n"]
)
def test_torn_last_line_is_dropped_and_appending_goes_on(reopen, torn):
    run = reopen()
    run.append_metrics({"step": 1, "loss": 0.1})
    with run.metrics_path.open("ab") as file:
        file.write(torn)
    assert RunFolder(run.path).metrics() == [{"step": 1, "loss": 0.1}]
    run = reopen()
    run.append_metrics({"step": 2})
    assert run.metrics() == [{"step": 1, "loss": 0.1}, {"step": 2}]


def test_whole_last_line_without_its_line_break_is_kept(reopen):
    run = reopen()
    run.metrics_path.write_text('{"step": 1}')
    run = reopen()
    run.append_metrics({"step": 2})
    assert run.metrics() == [{"step": 1}, {"step": 2}]


def test_broken_line_in_the_middle_is_an_error(reopen):
    run = reopen()
    run.metrics_path.write_text('{"step": 1}\n{"st\n{"step": 3}\n')
    with pytest.raises(DataError, match="line 2"):
        run.metrics()


def test_metrics_are_truncated_for_a_resume(reopen):
    run = reopen()
    assert run.metrics() == []
    run.truncate_metrics(3)
    for step in (1, 3, 4, 7):
        run.append_metrics({"step": step})
    run.append_metrics({"note": "of no step"})
    run.truncate_metrics(3)
    assert run.metrics() == [{"step": 1}, {"step": 3}, {"note": "of no step"}]


def test_json_is_valid_whatever_is_in_it(reopen):
    run = reopen()
    data = {
        "nan": float("nan"),
        "inf": np.float32("inf"),
        "array": np.array([[1.5, np.nan], [2, 3]], np.float32),
        "bfloat16": np.array(0.5, ml_dtypes.bfloat16)[()],
        "integer": np.int64(7),
        "flag": np.bool_(True),
        "tuple": (1, None, "ü"),
        "path": Path("runs/x"),
        3: {},
    }
    run.write_json("results.json", data)

    def refuse(constant):
        raise AssertionError(constant)

    text = run.results_path.read_text(encoding="utf-8")
    assert json.loads(text, parse_constant=refuse) == {
        "nan": None,
        "inf": None,
        "array": [[1.5, None], [2.0, 3.0]],
        "bfloat16": 0.5,
        "integer": 7,
        "flag": True,
        "tuple": [1, None, "ü"],
        "path": "runs/x",
        "3": {},
    }
    assert run.read_json("results.json")["integer"] == 7
    run.append_metrics({"step": np.int32(1), "loss": np.float32("nan")})
    assert run.metrics() == [{"step": 1, "loss": None}]


def test_unwritable_json_leaves_the_old_file(reopen):
    run = reopen()
    run.write_json("results.json", {"seed": 0})
    with pytest.raises(TypeError, match="object"):
        run.write_json("results.json", {"seed": object()})
    assert run.read_json("results.json") == {"seed": 0}


@pytest.mark.parametrize("name", ["missing.json", "broken.json"])
def test_unreadable_json_is_named(reopen, name):
    run = reopen()
    run.write_text("broken.json", "{")
    with pytest.raises(DataError, match=name):
        run.read_json(name)


def die_in_mid_write(path):
    run = RunFolder.open(path, {})
    os.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
    run.write_text("results.json", "new")


def test_kill_in_mid_write_leaves_the_old_file_and_reopening_cleans_up(tmp_path):
    run = RunFolder.open(tmp_path, {})
    run.write_text("results.json", "old")
    run.close()
    process = Fork(die_in_mid_write, tmp_path)
    process.communicate()
    assert process.returncode == -9
    assert len(list(tmp_path.glob(".*.tmp"))) == 1
    assert (tmp_path / "results.json").read_text() == "old"
    RunFolder.open(tmp_path, {}).close()
    assert not list(tmp_path.glob(".*.tmp"))


NASTY = {
    "plain": "birds",
    "blanks": "two  words, and a comma",
    "leading": "  indented",
    "quotes": '"it\'s" \\ $HOME `x`',
    "equals": "a=b --seed=3",
    "comment": "# no comment // here",
    "unicode": "Wiedehopf ü 鳥 🐦",
    "empty": "",
    "zero": "--none",
}


def test_flagfile_reads_back_through_absl(tmp_path):
    values = absl_flags.FlagValues()
    for name in NASTY:
        absl_flags.DEFINE_string(name, "default", "", flag_values=values)
    lists = {
        "several": ["1", "two words", "a,b", 'say "x"'],
        "single": [""],
        "nothing": [],
    }
    for name in lists:
        absl_flags.DEFINE_list(name, ["default"], "", flag_values=values)
    absl_flags.DEFINE_bool("yes", False, "", flag_values=values)
    absl_flags.DEFINE_bool("no", True, "", flag_values=values)
    absl_flags.DEFINE_float("rate", 1.0, "", flag_values=values)
    absl_flags.DEFINE_integer("count", 1, "", flag_values=values)
    absl_flags.DEFINE_string("unset", None, "", flag_values=values)
    flags = {
        **NASTY,
        **lists,
        "yes": True,
        "no": np.bool_(False),
        "rate": np.float64(1e-5) / 3,
        "count": -7,
        "unset": None,
    }
    run = RunFolder.open(tmp_path, flags)
    run.close()
    values(["program", f"--flagfile={run.flags_path}"])
    assert {name: getattr(values, name) for name in flags} == flags
    RunFolder.open(tmp_path, flags).close()


@pytest.mark.parametrize(
    "value", ["two\nlines", "carriage\rreturn", "trailing ", "end\n", ["a", " b"]]
)
def test_value_that_no_flagfile_can_hold_is_refused(tmp_path, value):
    with pytest.raises(UsageError, match="name="):
        RunFolder.open(tmp_path / "run", {"name": value})
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("half", ["", '{"test": {"recall_at_1": 0.', "[1]"])
def test_half_written_results_are_none(reopen, half):
    run = reopen()
    run.results_path.write_text(half)
    assert not run.finished and not reopen().finished


def test_a_half_written_environment_is_written_anew(reopen):
    run = reopen()
    before = run.read_json("environment.json")
    run.environment_path.write_text('{"python": "3')
    assert reopen().read_json("environment.json").keys() == before.keys()
