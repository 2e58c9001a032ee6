"""Stands in for `deml_tf.train` and `deml_tf.evaluate`, without TensorFlow.

`python fake_run.py MODULE FLAGS` leaves what a run leaves. A step takes as many seconds
as the variable FAKE_STEP says; with FAKE_WAITS the first one lasts until SIGTERM comes.
That ends it after the step under way, with status 143; the same flags go on there. A
`--learning_rate=13` fails, 14 is killed, and the scoring of the layout that the
variable FAKE_FAILS names fails.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path

STEP = float(os.environ.get("FAKE_STEP", "0"))  # seconds
WAITS = "FAKE_WAITS" in os.environ
LONGEST = 600  # seconds that it waits
FAILING = os.environ.get("FAKE_FAILS", "none")


def train(run, flags, lines):
    run.mkdir(parents=True, exist_ok=True)
    stop = []
    signal.signal(signal.SIGTERM, lambda *_: stop.append(True))
    if flags.get("learning_rate") in ("13", "13.0"):
        print("Traceback\nerror: the number is unlucky.\n", file=sys.stderr)
        return 1
    if flags.get("learning_rate") in ("14", "14.0"):
        print("step 40/1000  loss 2.311", flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    (run / "flags.cfg").write_text("\n".join(lines) + "\n")
    seed, scales = int(flags["seed"]), int(flags.get("scales", 3))
    journal = run / "metrics.jsonl"
    done = len(journal.read_text().splitlines()) if journal.exists() else 0
    for step in range(done + 1, int(flags["steps"]) + 1):
        time.sleep(STEP)
        score = 0.1 * step / (step + 1) + 0.01 * seed
        record = {"step": step, "validation_map_at_r": score}
        record["validation_recall_at_1"] = 2 * score
        with journal.open("a") as file:
            file.write(json.dumps(record) + "\n")
        latest = time.monotonic() + LONGEST
        while WAITS and not stop:
            if time.monotonic() > latest:
                print("error: no SIGTERM came.", file=sys.stderr)
                return 1
            time.sleep(0.01)
        if stop:
            print("it was ended", flush=True)
            return 143
    test = {"recall_at_1": 0.4 + 0.05 * scales + 0.01 * seed**2, "map_at_r": 0.2}
    results = {
        "test": {**test, "r_precision": 0.3, "queries": 20},
        "frozen": {"recall_at_1": 0.1},
        "model": {"parameters": 1000 * scales, "gmacs": 0.5 * scales, "name": "DeML"},
        "train": {"seconds": 1.5, "best_step": 3},
        "object_attention": {
            "fallback_share": 0.25,
            "iou": [0.5, 0.25 + 0.01 * seed],
            "mean_box": [[0, 0, 1, 1]] * 2,
            "side_correlation": None,
        },
        "learners": {"recall_at_1": [[0.25, 0.75], [0.125, 0.375]]},
        "embedding": {"effective_rank": 12.5},
    }
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # what is finished ends well
    tested = {"digest": "all", "test_digest": os.environ.get("FAKE_TESTED", "these")}
    (run / "split.json").write_text(json.dumps(tested))
    about = {"git_revision": os.environ.get("FAKE_REVISION")}
    (run / "environment.json").write_text(json.dumps(about))
    (run / "results.json").write_text(json.dumps(results))
    return 0


def evaluate(run, flags):
    if flags.get("layout") == FAILING:
        print("error: the layout is unlucky.", file=sys.stderr)
        return 1
    recall = json.loads((run / "results.json").read_text())["test"]["recall_at_1"]
    scores = {
        "joined": {"recall_at_1": recall + 0.2, "map_at_r": 0.5, "queries": 20},
        "object_attention": {"iou": [0.5, 0.125], "fallback_share": None},
    }
    if "probe_attributes" in flags:
        values = {"chance": 0.5, "frozen": None, "parts": [[0.5, 0.5], [0.25, 0.75]]}
        belly = {**values, "whole": 0.25, "parts": [[0.5, 0.25], [0.25, 0.75]]}
        scores["attributes"] = {"crown": {**values, "whole": 0.75}, "belly": belly}
    layout = f"_{flags['layout']}" if "layout" in flags else ""
    path = run / f"scores_{flags.get('split', 'test')}{layout}.json"
    path.write_text(json.dumps(scores))
    return 0


def main(module, *lines):
    flags = dict(line.removeprefix("--").partition("=")[::2] for line in lines)
    run = Path(flags["run_dir"])
    print("it begins", flush=True)
    if module == "deml_tf.evaluate":
        return evaluate(run, flags)
    return train(run, flags, [line for line in lines if "--run_dir" not in line])


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
