"""Whole studies: trained, interrupted, continued, with and without folders of runs."""

import contextlib
import functools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from absl import flags
from forks import Fork, run_module

from deml_tf import study
from deml_tf.cli import command, termination
from deml_tf.cli.parsing import parse
from deml_tf.errors import DataError, UsageError
from deml_tf.runs import file_lock
from deml_tf.runs.folder import RunFolder
from deml_tf.studies import processes, study_file
from deml_tf.studies.plan import read_variants
from deml_tf.studies.processes import Process, Stage, threads_of_each
from deml_tf.studies.progress import StudyProgress
from deml_tf.studies.records import Record, read_records
from deml_tf.studies.study_file import StudyFile

CONFIGS = Path(__file__).parent.parent.parent / "configs" / "studies"
FAKE = (sys.executable, str(Path(__file__).parent / "fake_run.py"))
HERE = Path(__file__).parent  # a folder that is there
FAKED = ["--dataset=folder", f"--data_dir={HERE}", "--steps=4", "--seeds=0,1"]
FAKED += ["--variant=U512: --scales=1 --learners=1", "--variant=DeML(2,2): --scales=2"]


@contextlib.contextmanager
def defined():
    """The flags of the command, and nothing of them afterwards."""
    values, before = flags.FLAGS, set(flags.FLAGS)
    try:
        with mock.patch.object(command, "run"), mock.patch.object(study, "run"):
            study.cli()
        yield values
    finally:
        values.unparse_flags()
        values.remove_flag_values(list(set(values) - before))


def run_study(*given):
    with defined() as values:
        study.main(parse(values, ["study", *given])[1:])


@pytest.fixture
def fake(monkeypatch, tmp_path):
    """Runs a study of fakes in its folder."""
    monkeypatch.setattr(Process, "command", FAKE)
    return functools.partial(run_study, *FAKED, f"--study_dir={tmp_path / 'birds'}")


@pytest.fixture
def undrawn(monkeypatch):
    """No page is drawn, which takes a second."""
    monkeypatch.setattr(study, "write_study", lambda *_: None)


def content(folder):
    return json.loads((folder / "study.json").read_text())


def records(folder):
    """Without what no two runs share."""
    found = content(folder)["runs"]
    for run in found:
        for name in ("seconds", "peak_memory_mib"):
            run["numbers"].pop(name, None)
    return found


def test_a_study_from_its_flags_to_its_page(fake, tmp_path, capsys):
    fake()
    folder = tmp_path / "birds"
    found = content(folder)
    assert [(r["variant"], r["seed"]) for r in found["runs"]] == [
        ("DeML(2,2)", 0),
        ("DeML(2,2)", 1),
        ("U512", 0),
        ("U512", 1),
    ]
    run = found["runs"][1]
    assert run["flags"]["scales"] == "2" and run["flags"]["steps"] == "4"
    numbers = run["numbers"]
    assert numbers["recall_at_1"] == pytest.approx(0.51)
    assert numbers["validation_map_at_r"] == pytest.approx(0.09)
    assert numbers["gmacs"] == 1.0 and numbers["parameters"] == 2000
    assert numbers["object_attention/iou/2"] == 0.26
    assert numbers["learners/recall_at_1/2/1"] == 0.125
    assert numbers["peak_memory_mib"] > 1
    assert "object_attention/side_correlation" not in numbers
    assert [step for step, _ in run["curve"]] == [1, 2, 3, 4]
    second = found["summary"][1]
    assert second["reference"] == "U512"
    difference = second["differences"]["recall_at_1"]
    assert difference["mean"] == pytest.approx(0.05) and difference["n"] == 2
    assert difference["high"] - difference["low"] < 1e-9  # seeds act on both alike
    output = capsys.readouterr().out
    assert "4/4  DeML(2,2), seed 1: Recall@1 0.510" in output
    assert re.search(r"DeML\(2,2\) +2 +0.505 ± 0.064 +\+0.050 ± 0.000 ", output)
    page = (folder / "study.html").read_text().replace("<wbr>", "")
    assert "+0.050" in page and "--scales=1" in page and "Not done yet" not in page
    log = (folder / "U512" / "seed_0" / "log.txt").read_text()
    assert log == "it begins\n"


def test_what_is_also_scored_is_in_the_record_and_on_the_page(
    fake, tmp_path, monkeypatch
):
    """Of runs that are there only this is done; what is there is not done again."""
    monkeypatch.chdir(tmp_path)
    own = ["--dataset=plumage"]
    also = [f"--also_score={name}" for name in ("seen", "attributes", "shifted")]
    folder = tmp_path / "birds"
    log = folder / "U512" / "seed_0" / "log.txt"
    fake(*own)
    assert not any("/" in n for n in records(folder)[3]["numbers"] if n[:4] == "seen")
    log.with_name("scores_test.json").write_text("{}")  # scored without attributes
    fake(*own, *also, also[0])
    assert log.read_text() == "it begins\n" * 4
    numbers = records(folder)[1]["numbers"]  # DeML(2,2), seed 1
    assert numbers["seen/recall_at_1"] == pytest.approx(0.71)
    assert numbers["seen_minus_unseen"] == pytest.approx(0.2)
    assert numbers["shifted/object_attention/iou/2"] == 0.125
    assert numbers["attributes/crown/parts/2/1"] == 0.25
    assert numbers["attributes/mean/whole"] == pytest.approx(0.5)
    assert numbers["attributes/mean/parts/1/2"] == pytest.approx(0.375)
    assert "attributes/mean/frozen" not in numbers
    assert not any("queries" in name for name in numbers if "/" in name)
    page = (folder / "study.html").read_text()
    assert "shifted: IoU" in page and "as they are: IoU" in page
    assert "Attributes that the embedding shows" in page
    before = records(folder)
    for given in ([], also, also[:1]):  # who asks for less loses nothing
        fake(*own, *given)
        assert records(folder) == before and log.read_text().count("\n") == 4
    shutil.rmtree(folder / "U512")
    monkeypatch.setattr(Process, "command", ["/bin/false"])
    fake(*own, *also, "--also_score=empty", "--summary_only")
    assert records(folder) == before


def test_runs_of_other_test_images_are_told(fake, tmp_path, monkeypatch, capsys):
    page = tmp_path / "birds" / "study.html"
    fake("--seeds=0")
    assert "WARNING" not in capsys.readouterr().out
    assert "Warning" not in page.read_text()
    monkeypatch.setenv("FAKE_TESTED", "others")  # a class folder was added
    fake()
    said = (
        "the scores of U512/seed_1, DeML(2,2)/seed_1 are of other test images than "
        "those of U512/seed_0, and cannot be compared with them"
    )
    assert f"WARNING: {said}" in capsys.readouterr().out.replace("\n", " ")
    assert said in " ".join(page.read_text().split())


def test_the_page_names_the_code_at_which_runs_were_begun(fake, tmp_path, monkeypatch):
    page = tmp_path / "birds" / "study.html"
    fake("--seeds=0")
    assert "<th>code</th>" not in page.read_text()
    monkeypatch.setenv("FAKE_REVISION", "fedcba9876543210")
    fake("--seeds=0,1")
    monkeypatch.setenv("FAKE_REVISION", "0123456789abcdef+changes")
    fake("--seeds=0,1,2")
    assert "<td>0123456+changes, fedcba9, unknown</td>" in page.read_text()
    revisions = [run["revision"] for run in content(tmp_path / "birds")["runs"][:3]]
    assert revisions == [None, "fedcba9876543210", "0123456789abcdef+changes"]


@pytest.mark.usefixtures("undrawn")
def test_seeds_come_one_after_the_other(fake, capsys):
    fake("--parallel=1")
    lines = re.findall(r"^\d/4  (.*):", capsys.readouterr().out, re.M)
    assert lines == [f"{n}, seed {s}" for s in (0, 1) for n in ("U512", "DeML(2,2)")]


def test_finished_runs_stay_finished_without_their_folders(fake, tmp_path, monkeypatch):
    fake()
    folder, kept = tmp_path / "birds", tmp_path / "kept"
    before = content(folder)
    kept.mkdir()
    shutil.move(folder / "study.json", kept / "study.json")
    shutil.rmtree(folder)
    monkeypatch.setattr(Process, "command", ["/bin/false"])  # nothing may begin
    fake(f"--output={kept}")
    assert content(kept) == before
    assert (kept / "study.html").exists() and not folder.exists()


@pytest.mark.usefixtures("undrawn")
def test_what_has_no_record_is_read_from_its_folder(fake, tmp_path, monkeypatch):
    fake()
    folder = tmp_path / "birds"
    before = records(folder)
    (folder / "study.json").unlink()
    monkeypatch.setattr(Process, "command", ["/bin/false"])
    fake()
    assert records(folder) == before


@pytest.mark.usefixtures("undrawn")
def test_what_a_record_lacks_is_read_from_its_folder(fake, tmp_path):
    """Scores that were made by hand, and what a run was tested on."""
    fake()
    folder = tmp_path / "birds"
    before = content(folder)["runs"]
    by_hand = [f"--run_dir={folder / 'U512' / 'seed_1'}", "--split=train"]
    scoring: Any = Process(Stage("deml_tf.evaluate", by_hand), tmp_path / "x")
    while scoring.poll() is None:
        time.sleep(0.01)
    written = (folder / "study.json").read_text()
    (folder / "study.json").write_text(written.replace('"these"', "null"))
    fake("--summary_only")
    found = content(folder)["runs"]
    assert found[3]["numbers"].pop("seen/recall_at_1") == pytest.approx(0.66)
    assert {n for n in found[3]["numbers"] if n not in before[3]["numbers"]} == {
        n for n in found[3]["numbers"] if n.startswith("seen")
    }
    assert found[:3] == before[:3]
    # Now it has scores that its folder lacks, which has others.
    (folder / "U512" / "seed_1" / "scores_train.json").unlink()
    others = [by_hand[0], "--layout=empty"]
    scoring = Process(Stage("deml_tf.evaluate", others), tmp_path / "x")
    while scoring.poll() is None:
        time.sleep(0.01)
    fake("--summary_only")
    assert "seen/recall_at_1" in content(folder)["runs"][3]["numbers"]


@pytest.mark.usefixtures("undrawn")
def test_other_flags_train_anew_and_say_so(fake, tmp_path, capsys):
    fake()
    folder = tmp_path / "birds"
    shutil.rmtree(folder / "U512" / "seed_1")
    capsys.readouterr()
    fake("--variant=three: --scales=3", "--seeds=0", "--steps=5")
    output = capsys.readouterr().out
    old = folder / "U512" / "seed_0.old1"
    assert "WARNING: U512, seed 0 was trained with other flags (steps" in output
    assert f"4 -> 5): it is trained anew, and its old folder is now {old}" in output
    assert output.count("WARNING: ") == 2 and old.is_dir()
    steps = {(r["variant"], r["seed"]): r["flags"]["steps"] for r in records(folder)}
    assert steps == {
        ("U512", 0): "5",
        ("DeML(2,2)", 0): "5",
        ("three", 0): "5",
        ("U512", 1): "4",  # not asked for, and kept
        ("DeML(2,2)", 1): "4",
    }
    fake("--summary_only", "--steps=6", "--seeds=1")
    output = capsys.readouterr().out
    assert "steps: 4 -> 6): it is left out" in output
    assert (
        "2 of 2 runs are left (U512, seed 1; DeML(2,2), seed 1): the same command "
        "without --summary_only goes on with them."
    ) in output
    assert {(r["variant"], r["seed"]) for r in records(folder)} == set(steps)
    fake("--summary_only", "--seeds=1", "--variant=three: --scales=3")
    assert (
        "1 of 3 runs is left (three, seed 1): the same command without --summary_only "
        "goes on with it."
    ) in capsys.readouterr().out


@pytest.mark.usefixtures("undrawn")
def test_a_folder_in_use_is_not_set_aside(fake, tmp_path):
    fake("--seeds=0")
    used = tmp_path / "birds" / "U512" / "seed_0"
    before = sorted(used.parent.iterdir())
    with (
        RunFolder(used).locked(),
        pytest.raises(UsageError, match=f"^U512, seed 0 is .* and {used} is in use by"),
    ):
        fake("--seeds=0", "--steps=5")
    assert sorted(used.parent.iterdir()) == before
    assert "--steps=4" in (used / "flags.cfg").read_text()
    fake("--seeds=0", "--steps=5")  # it has ended
    assert used.with_name("seed_0.old1").is_dir()


def test_a_run_that_fails_is_named_and_the_others_go_on(fake, tmp_path, capsys):
    with pytest.raises(
        DataError, match=r"^2 of 6 runs failed \(bad, seed 0; bad, seed 1"
    ):
        fake("--variant=bad: --learning_rate=13")
    output = capsys.readouterr().out
    log = tmp_path / "birds" / "bad" / "seed_1" / "log.txt"
    assert f"bad, seed 1 failed, see {log}: the number is unlucky." in output
    assert len(records(tmp_path / "birds")) == 4
    page = (tmp_path / "birds" / "study.html").read_text()
    assert "<strong>Failed:</strong> bad, seed 0; bad, seed 1." in page


def test_a_run_that_is_killed_is_said_to_be(fake, tmp_path, capsys):
    with pytest.raises(DataError, match=r"^1 of 3 runs failed \(large, seed 0\)"):
        fake("--seeds=0", "--variant=large: --learning_rate=14")
    log = tmp_path / "birds" / "large" / "seed_0" / "log.txt"
    said = f"large, seed 0 failed, see {log}: it was killed by SIGKILL."
    assert said in capsys.readouterr().out


def test_after_its_hours_it_stops_and_goes_on_later(fake, tmp_path, capsys):
    many, folder = ["--steps=40"], tmp_path / "birds"
    fake(*many)
    wanted = records(folder)
    shutil.rmtree(folder)
    capsys.readouterr()
    with after_a_step(), mock.patch.dict(os.environ, {"FAKE_WAITS": "yes"}):
        fake(*many, "--hours=2")
    assert (
        "4 of 4 runs are left (U512, seed 0; DeML(2,2), seed 0; U512, seed 1; "
        "DeML(2,2), seed 1): the same command goes on with them."
    ) in capsys.readouterr().out
    assert records(folder) == []
    page = (folder / "study.html").read_text()
    assert "<strong>Not done yet:</strong> U512, seed 0; " in page
    journal = folder / "U512" / "seed_0" / "metrics.jsonl"
    assert len(journal.read_text().splitlines()) == 1
    assert not (folder / "DeML(2,2)").exists()
    fake(*many, "--parallel=2")
    assert records(folder) == wanted


def test_a_scoring_that_fails_loses_no_training(fake, tmp_path, monkeypatch, capsys):
    also = ("--also_score=seen", "--also_score=empty")
    folder = tmp_path / "birds"
    monkeypatch.setenv("FAKE_FAILS", "empty")
    with pytest.raises(DataError, match=r"^4 of 4 runs failed \(U512, seed 0; "):
        fake(*also)
    output = capsys.readouterr().out
    assert "U512, seed 0 failed, see" in output and "1/4" not in output
    found = content(folder)["runs"]
    assert len(found) == 4
    assert found[3]["numbers"]["seen/recall_at_1"] == pytest.approx(0.66)
    assert not any(name.startswith("empty/") for name in found[3]["numbers"])
    peaks = [run["numbers"]["peak_memory_mib"] for run in found]
    monkeypatch.setenv("FAKE_FAILS", "none")
    fake(*also)
    output = capsys.readouterr().out
    assert re.findall(r"^(\d)/4 ", output, re.M) == ["1", "2", "3", "4"]
    log = (folder / "U512" / "seed_0" / "log.txt").read_text()
    assert log.count("it begins") == 4  # the training, seen, and empty twice
    found = content(folder)["runs"]
    assert [run["numbers"]["peak_memory_mib"] for run in found] == peaks
    assert all("empty/recall_at_1" in run["numbers"] for run in found)


@pytest.mark.usefixtures("undrawn")
def test_hours_that_end_before_the_scoring_lose_no_training(fake, tmp_path, capsys):
    also = ("--also_score=seen", "--also_score=empty")
    with after_a_step("results.json"):
        fake(*also, "--hours=2")
    assert "4 of 4 runs are left (U512, seed 0; " in capsys.readouterr().out
    (run,) = content(tmp_path / "birds")["runs"]
    assert run["variant"] == "U512" and run["numbers"]["peak_memory_mib"] > 1


@contextlib.contextmanager
def after_a_step(written="metrics.jsonl"):
    """Two hours are over when the first run has logged a step, or written a file."""
    real = study.train_runs

    def timed(left, *arguments, seconds, **options):
        assert seconds == 7200
        path = left[0].folder.path / written
        clock = mock.Mock(side_effect=lambda: 7201.0 * path.exists())
        with mock.patch("deml_tf.studies.train_runs.monotonic", clock):
            return real(left, *arguments, seconds=seconds, **options)

    with mock.patch.object(study, "train_runs", timed):
        yield


@pytest.mark.usefixtures("undrawn")
def test_a_kill_loses_no_record(fake, tmp_path, monkeypatch):
    class Killed(BaseException):
        pass

    real = study.train_runs

    def killed(left, keep, *arguments, **options):
        def once(run, peak):
            keep(run, peak)
            raise Killed

        return real(left, once, *arguments, **options)

    monkeypatch.setattr(study, "train_runs", killed)
    with pytest.raises(Killed):
        fake()
    assert [r["variant"] for r in records(tmp_path / "birds")] == ["U512"]


@pytest.mark.usefixtures("undrawn", "fake")
def test_an_error_lets_the_other_runs_save_their_step(tmp_path, monkeypatch):
    """Such as that of `| head`, when a line cannot be written any more."""
    killed, kill = [], os.kill
    spied = lambda pid, number: (killed.append(number), kill(pid, number))  # noqa: E731
    monkeypatch.setattr(processes.os, "kill", spied)
    monkeypatch.setattr(StudyProgress, "finish", mock.Mock(side_effect=BrokenPipeError))
    monkeypatch.setenv("FAKE_STEP", "0.05")
    flags = [*FAKED[:3], "--seeds=0", "--parallel=2", f"--study_dir={tmp_path}"]
    with pytest.raises(BrokenPipeError):
        run_study(*flags, "--variant=short:", "--variant=long: --steps=1000")
    assert killed == [signal.SIGTERM]


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("given", [(), ("--steps=5",)])
def test_a_run_that_another_process_finishes_meanwhile(
    given, fake, tmp_path, monkeypatch
):
    real = study.train_runs

    def beside(left, *arguments, **options):
        theirs = [*left[1].arguments, *given]
        other: Any = Process(Stage("deml_tf.train", theirs), tmp_path / "x")
        while other.poll() is None:
            time.sleep(0.01)
        return real(left, *arguments, **options)

    monkeypatch.setattr(study, "train_runs", beside)
    if given:
        with pytest.raises(UsageError, match=r"other flags \(steps: 5 -> 4\)"):
            fake()
        return
    fake()
    assert len(records(tmp_path / "birds")) == 4
    assert not (tmp_path / "birds" / "DeML(2,2)" / "seed_0" / "log.txt").exists()


def begin_and_end(*given):
    """SIGTERM comes when a process has begun, and nobody knows of it yet."""
    start = Process.__init__

    def started(self, *arguments):
        start(self, *arguments)
        print(f"process {self._process.pid}", flush=True)
        os.kill(os.getpid(), signal.SIGTERM)

    Process.__init__ = started
    begin(*given)


def test_a_signal_at_the_start_leaves_no_process_behind(tmp_path):
    where = f"--study_dir={tmp_path / 'birds'}"
    study_process = Fork(begin_and_end, *FAKED, where)
    output, errors = study_process.communicate()
    assert study_process.returncode == termination.STATUS, errors
    (number,) = re.findall(r"process (\d+)", output)
    assert not Path(f"/proc/{number}").exists()


def test_two_studies_that_write_one_file_keep_all_records(tmp_path):
    (variant,) = read_variants(["a:"], FAKED[:2], None)
    path = tmp_path / "study.json"
    files = [StudyFile(path, [variant], [seed], FAKED[:2]) for seed in (0, 1)]
    for score in (0.25, 0.5):
        for seed, file in enumerate(files):
            file.keep(Record("a", seed, variant.flags, {"recall_at_1": score}, []))
    found = read_records(path)
    assert {k: r.numbers["recall_at_1"] for k, r in found.items()} == {
        ("a", 0): 0.5,
        ("a", 1): 0.5,
    }


def test_two_studies_that_write_one_file_at_one_time_keep_all_records(
    tmp_path, monkeypatch
):
    (variant,) = read_variants(["a:"], FAKED[:2], None)
    path = tmp_path / "study.json"
    write, lock = study_file.write_atomically, file_lock.try_to_lock
    has_come = threading.Event()

    def keep(seed):
        file = StudyFile(path, [variant], [seed], FAKED[:2])
        file.keep(Record("a", seed, variant.flags, {}, []))

    def keep_beside():
        keep(1)
        has_come.set()

    other = threading.Thread(target=keep_beside)

    def try_to_lock(*arguments):
        is_ours = lock(*arguments)
        if not is_ours:
            has_come.set()
        return is_ours

    def write_late(*arguments):
        if other.ident is None:
            other.start()
            assert has_come.wait(60)
        write(*arguments)

    monkeypatch.setattr(study_file, "write_atomically", write_late)
    monkeypatch.setattr(file_lock, "try_to_lock", try_to_lock)
    keep(0)
    other.join(60)
    assert set(read_records(path)) == {("a", 0), ("a", 1)}
    assert list(tmp_path.iterdir()) == [path]


def begin(*given):
    """`python -m deml_tf.study` whose runs are fakes."""
    Process.command = FAKE
    os.environ["FAKE_WAITS"] = "yes"
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # ignored under nohup
    run_module("deml_tf.study", *given)


@pytest.mark.parametrize(
    ("number", "status"),
    [
        (signal.SIGTERM, termination.STATUS),
        (signal.SIGHUP, termination.STATUS),
        (signal.SIGINT, 130),
    ],
)
def test_signals_are_passed_on(tmp_path, number, status):
    where = f"--study_dir={tmp_path / 'birds'}"
    process = Fork(begin, *FAKED, "--parallel=2", where)
    runs = [tmp_path / "birds" / n / "seed_0" for n in ("U512", "DeML(2,2)")]
    while not all((run / "metrics.jsonl").exists() for run in runs):
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    process.send_signal(number)
    _, errors = process.communicate()
    assert process.returncode == status, errors
    assert errors.endswith("the same command goes on with the runs that are left.\n")
    for run in runs:  # both had time to save their step
        assert (run / "log.txt").read_text() == "it begins\nit was ended\n"
        assert not (run / "results.json").exists()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["--variant=a: --walk_steps=0"], "Variant a: walk_steps=0 is no walk"),
        (["--variant=a: --embedding_dim=3"], "Variant a: embedding_dim=3: 3 scales x"),
        (["--variant=a: --warmup_steps=4"], "Variant a: warmup_steps=4: it must be be"),
        (
            ["--variant=a: --loss=contrastive --memory=5"],
            "Variant a: memory_start=1000: with steps=4 no step would be compared",
        ),
        (["--variant=a: --weight_decay=1"], "Variant a: weight_decay=1.0 is not for"),
        (["--variant=a: --backbone=resnet"], "Variant a: backbone='resnet' is unkn"),
        (["--variant=a: --weights=no.pth"], "Variant a: weights='no.pth' is no file"),
        (["--variant=a: --width=0.5"], "Variant a: weights='imagenet' exist for wid"),
        (["--variant=a: --cut_layer=x"], "Variant a: cut_layer='x' is unknown for ef"),
        (
            ["--variant=a: --backbone=resnet50 --output_stride=16"],
            "Variant a: output_stride=16 is not for resnet50",
        ),
        (
            ["--variant=a: --backbone=inception_v3 --input_size=64"],
            "Variant a: input_size=64 is too small for inception_v3",
        ),
        (["--variant=a: --patience=2"], "Variant a: patience=2 needs validation clas"),
        (
            ["--patience=3", "--validation_classes=0.1"],
            "Variant U512: patience=3: with 4 evaluations it would never stop",
        ),
        (["--data_dir=nowhere"], "Variant U512: data_dir=nowhere does not exist"),
        (["--dataset=tables"], "Variant U512: dataset=tables is unknown"),
        (["--data_dir="], "Variant U512: data_dir is missing"),
        (["--reference=b"], "reference=b: 'b' is no variant to compare with; give one"),
        (["--seeds=a"], "seeds=a: give whole numbers"),
        (["--seed=3"], "Variant U512: seed=3 is for one run"),
        (["word"], "'word' is no flag"),
        (["--also_score=colour"], "also_score=colour is unknown; give one of seen att"),
        (
            ["--also_score=attributes"],
            "Variant U512: also_score=attributes reads the attributes of dataset=pl",
        ),
        (
            ["--also_score=attributes", "--dataset=plumage", "--plumage_species=14"],
            "Variant U512: also_score=attributes needs 8 unseen species, and of plumag",
        ),
        (["--study_dir="], "--study_dir is missing"),
        (["--study_dir=lr[12]"], "study_dir=lr[12] holds *, ?, [ or \\, which Tensor"),
    ],
)
def test_it_refuses_before_any_run(fake, tmp_path, given, words):
    with pytest.raises(UsageError) as caught:
        fake(*given)
    assert str(caught.value).startswith(words)
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize(
    "given",
    [
        # It is drawn there on first use; fifteen species leave eight unseen.
        ["--dataset=plumage", "--plumage_species=15", "--also_score=attributes"],
        # A list may name validation classes, and `here` is one.
        ["--dataset=list", "--patience=2", "--data_dir=here"],
        ["--patience=2", "--validation_classes=0.1", "--data_dir=here"],
    ],
)
def test_it_refuses_no_more_than_a_run_would(fake, tmp_path, monkeypatch, given):
    monkeypatch.chdir(tmp_path)
    Path("here").mkdir()
    fake("--data_dir=new", *given)
    assert len(records(tmp_path / "birds")) == 4


@pytest.mark.usefixtures("undrawn")
def test_a_summary_needs_neither_images_nor_weights(fake, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    there = ["--data_dir=images", "--weights=mine.weights.h5"]
    (tmp_path / "images").mkdir()
    (tmp_path / "mine.weights.h5").touch()
    fake(*there)
    before = records(tmp_path / "birds")
    (tmp_path / "images").rmdir()
    (tmp_path / "mine.weights.h5").unlink()
    fake(*there, "--summary_only")
    assert records(tmp_path / "birds") == before


RECORD = {"variant": "a", "seed": 0, "flags": {}, "numbers": {}, "curve": []}
SPOILT = [{}, "a", RECORD | {"seed": "0"}, RECORD | {"numbers": {"x": "1"}}]


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{", '{"runs": 3}', *(json.dumps({"runs": [run]}) for run in SPOILT)],
)
def test_a_spoilt_study_file_is_refused(fake, tmp_path, text):
    (tmp_path / "birds").mkdir()
    (tmp_path / "birds" / "study.json").write_text(text)
    with pytest.raises(DataError, match="is not what a study writes .*: delete it, or"):
        fake()
    assert (tmp_path / "birds" / "study.json").read_text() == text


STUDIES = [p for p in sorted(CONFIGS.glob("*.cfg")) if "--study_dir" in p.read_text()]


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_the_studies_of_configs_are_studies(path, monkeypatch):
    monkeypatch.chdir(CONFIGS.parent.parent)
    with defined() as values, mock.patch.object(study, "StudyFile", side_effect=Begun):
        words = parse(values, ["study", f"--flagfile=configs/studies/{path.name}"])
        with pytest.raises(Begun):
            study.main(words[1:])
        assert values["study_dir"].value == f"runs/studies/{path.stem}"
    assert f"configs/studies/{path.name}" in path.read_text().split("--study_dir")[0]


class Begun(Exception):
    """All flags were accepted."""


# Starts a process where TensorFlow is not imported, and tells its status and peak.
SMALL = """
import sys, time, types
from pathlib import Path
package = sys.modules["deml_tf"] = types.ModuleType("deml_tf")
package.__path__ = [sys.argv[1]]
from deml_tf.studies.processes import Process, Stage
Process.command = [sys.executable, "-c"]
process = Process(Stage(sys.argv[2], ()), Path(sys.argv[3]), threads=3)
while process.poll() is None:
    time.sleep(0.01)
print(process.poll(), process.peak)
"""


def test_a_process_tells_its_peak_memory(tmp_path):
    """Which is at least what the process that starts it has taken."""
    code = "import os; print(os.environ['OMP_NUM_THREADS']); x = b'x' * (200 << 20)"
    log = tmp_path / "a" / "log.txt"
    command = [sys.executable, "-c", SMALL, Path(study.__file__).parent, code, log]
    said = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    status, peak = said.split()
    assert status == "0" and 200 < float(peak) < 300
    assert log.read_text() == "3\n"


def test_a_process_is_killed_and_has_ended(tmp_path, monkeypatch):
    monkeypatch.setattr(Process, "command", [sys.executable, "-c"])
    process = Process(Stage("import time; time.sleep(60)", ()), tmp_path / "log.txt")
    process.kill()
    assert process.poll() == -signal.SIGKILL
    process.terminate()  # which sends nothing


def test_runs_at_once_share_the_cores():
    cores = len(os.sched_getaffinity(0))
    assert threads_of_each(1) is None
    assert [threads_of_each(n) for n in (2, 10**6)] == [max(1, cores // 2), 1]


class ForkedRun:
    """A `Process` that is a fork which knows `--backbone=small`."""

    def __init__(self, stage, log, threads=None):
        log.parent.mkdir(parents=True, exist_ok=True)
        self.process = Fork(into_log, str(log), stage.module, *stage.arguments)
        self.poll, self.kill = self.process.poll, self.process.kill
        self.process.stdout.close()
        self.peak = None

    def terminate(self):
        self.process.send_signal(signal.SIGTERM)


def into_log(log, module, *given):
    from small_backbone import run_command

    file = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.dup2(file, 1)
    os.dup2(file, 2)
    run_command(module, *given)


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.usefixtures("small_backbone")
def test_real_trainings_interrupted_end_as_they_would(
    tiny_flags, tmp_path, monkeypatch
):
    monkeypatch.setattr(processes, "Process", ForkedRun)
    given = [f for f in tiny_flags if not f.startswith(("--scales", "--learners"))]
    given += ["--seeds=3", "--parallel=2", "--checkpoint_every=1"]
    given += ["--also_score=seen", "--also_score=several"]
    given += ["--variant=one: --scales=1 --learners=1 --decoupling=none"]
    given += ["--variant=two: --scales=2 --learners=2"]
    run_study(*given, f"--study_dir={tmp_path / 'calm'}")
    wanted = records(tmp_path / "calm")
    where = f"--study_dir={tmp_path / 'birds'}"
    with after_a_step():
        run_study(*given, where, "--hours=2")
    journal = tmp_path / "birds" / "one" / "seed_3" / "metrics.jsonl"
    assert not journal.with_name("results.json").exists() and journal.exists()
    run_study(*given, where)
    assert records(tmp_path / "birds") == wanted
    assert len(wanted) == 2
    for run in wanted:
        place = tmp_path / "birds" / run["variant"] / f"seed_{run['seed']}"
        for name, file in (("seen", "train"), ("several", "test_several")):
            scores = json.loads((place / f"scores_{file}.json").read_text())
            recall = scores["joined"]["recall_at_1"]
            assert run["numbers"][f"{name}/recall_at_1"] == recall
        assert [step for step, _ in run["curve"]] == [4, 8]
