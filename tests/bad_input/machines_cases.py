"""Strategies, TF_CONFIG, the data service and the launcher, asked for wrongly."""

import json
import socket

from bad_case import Case

TWO = {"worker": ["a:2222", "b:2222"]}
FIRST = {"type": "worker", "index": 0}
EXAMPLE = (
    '{"cluster": {"worker": ["HOST:PORT", "HOST:PORT"]}, '
    '"task": {"type": "worker", "index": 0}}'
)
ADDRESS = "write HOST:PORT, with a port from 1 to 65535."
CLOSED = "127.0.0.1:1"  # TCPMUX, which nobody has used for decades
TAKEN = 5046
LISTENING = []


def clusters(what, cluster, task, message, flags=""):
    """A row of a TF_CONFIG with these parts, unless they are None."""
    parts = {"cluster": cluster, "task": task}
    text = json.dumps({name: part for name, part in parts.items() if part is not None})
    command = f"TF_CONFIG='{text}' train TINY{flags}"
    return Case(what, command, 2, message.replace("TEXT", text))


def take_port(folder):
    """Listens at the port, unless somebody does."""
    if not LISTENING:
        try:
            LISTENING.append(socket.create_server(("", TAKEN)))
        except OSError:
            pass


CASES = (
    Case(
        "an unknown strategy",
        "train TINY --strategy=tpu",
        2,
        "--strategy=tpu: give auto or one or mirrored or multiworker.",
    ),
    Case(
        "several GPUs where there is none",
        "train TINY --strategy=mirrored",
        2,
        "--strategy=mirrored finds no GPU on this machine: use --strategy=one, or "
        "--logical_cpus=2 to try two replicas on the CPU.",
    ),
    Case(
        "several machines without TF_CONFIG",
        "train TINY --strategy=multiworker",
        2,
        "--strategy=multiworker needs two workers or more in the environment variable "
        "TF_CONFIG: set it on every machine, or use --strategy=auto.",
    ),
    clusters(
        "several machines of which there is one",
        {"worker": ["a:2222"]},
        FIRST,
        "--strategy=multiworker needs two workers or more in the environment variable "
        "TF_CONFIG: set it on every machine, or use --strategy=auto.",
        " --strategy=multiworker",
    ),
    clusters(
        "one device on two machines",
        TWO,
        FIRST,
        "--strategy=one is for one machine, and TF_CONFIG names 2: use "
        "--strategy=multiworker, or unset TF_CONFIG.",
        " --strategy=one",
    ),
    clusters(
        "one machine's replicas on two",
        TWO,
        FIRST,
        "--strategy=mirrored is for one machine, and TF_CONFIG names 2: use "
        "--strategy=multiworker, or unset TF_CONFIG.",
        " --strategy=mirrored --logical_cpus=2",
    ),
    Case(
        "no logical CPU",
        "train TINY --logical_cpus=0",
        2,
        "--logical_cpus=0: it must be at least 1.",
    ),
    Case(
        "a negative number of logical CPUs",
        "train TINY --logical_cpus=-2",
        2,
        "--logical_cpus=-2: it must be at least 1.",
    ),
    Case(
        "several logical CPUs as one device",
        "train TINY --logical_cpus=2 --strategy=one",
        2,
        "--logical_cpus=2 is not for --strategy=one: leave it out, or use "
        "--strategy=mirrored.",
    ),
    Case(
        "a batch that the replicas cannot share",
        "train TINY --logical_cpus=3",
        2,
        "--classes_per_batch=2 x --images_per_class=2 are 4 images, which 3 replicas "
        "cannot share evenly: give classes_per_batch a multiple of 3.",
    ),
    clusters(
        "a batch that all machines' replicas cannot share",
        TWO,
        FIRST,
        "--classes_per_batch=2 x --images_per_class=2 are 4 images, which 6 replicas "
        "cannot share evenly: give classes_per_batch a multiple of 6.",
        " --logical_cpus=3",
    ),
    Case(
        "more logical CPUs than images",
        "train TINY --logical_cpus=100000",
        2,
        "--classes_per_batch=2 x --images_per_class=2 are 4 images, which 100000 "
        "replicas cannot share evenly: give classes_per_batch a multiple of 100000.",
    ),
    Case(
        "classes torn apart between replicas",
        "train TINY --logical_cpus=4 --pairs=replica",
        2,
        "--pairs=replica would tear classes apart, for --classes_per_batch=2 is no "
        "multiple of the 4 replicas: give such a multiple, or --pairs=global.",
    ),
    Case(
        "an unknown kind of pairs",
        "train TINY --pairs=local",
        2,
        "--pairs=local: give global or replica.",
    ),
    Case(
        "a TF_CONFIG cut short",
        "TF_CONFIG='{\"cluster\"' train TINY",
        2,
        "TF_CONFIG={\"cluster\" is no JSON (Expecting ':' delimiter: line 1 column 11 "
        f"(char 10)): write it as {EXAMPLE}.",
    ),
    Case(
        "addresses alone as TF_CONFIG",
        "TF_CONFIG=a:2222,b:2222 train TINY",
        2,
        "TF_CONFIG=a:2222,b:2222 is no JSON (Expecting value: line 1 column 1 (char "
        f"0)): write it as {EXAMPLE}.",
    ),
    Case(
        "a list as TF_CONFIG",
        "TF_CONFIG='[\"a:2222\"]' train TINY",
        2,
        f'TF_CONFIG=["a:2222"] has no cluster: write it as {EXAMPLE}.',
    ),
    clusters(
        "a TF_CONFIG without a cluster",
        None,
        FIRST,
        f"TF_CONFIG=TEXT has no cluster: write it as {EXAMPLE}.",
    ),
    clusters(
        "a TF_CONFIG without a task",
        TWO,
        None,
        f"TF_CONFIG=TEXT has no task: write it as {EXAMPLE}.",
    ),
    clusters(
        "a task without a type",
        TWO,
        {"index": 0},
        f"TF_CONFIG=TEXT has a task without type: write it as {EXAMPLE}.",
    ),
    clusters(
        "a task without an index",
        TWO,
        {"type": "worker"},
        f"TF_CONFIG=TEXT has a task without index: write it as {EXAMPLE}.",
    ),
    clusters(
        "a word as a task's index",
        TWO,
        {"type": "worker", "index": "first"},
        f"TF_CONFIG=TEXT has the index 'first': write it as {EXAMPLE}.",
    ),
    clusters(
        "a task that is counted from 1",
        TWO,
        {"type": "worker", "index": 2},
        "TF_CONFIG says that this is worker 2, which its cluster does not have: count "
        "each job's tasks from 0.",
    ),
    clusters(
        "a task of another job",
        TWO,
        {"type": "chief", "index": 0},
        "TF_CONFIG says that this is chief 0, which its cluster does not have: count "
        "each job's tasks from 0.",
    ),
    clusters(
        "a cluster of nobody",
        {},
        FIRST,
        "TF_CONFIG has 0 chiefs and 0 workers: name one worker or more, and at most "
        "one chief.",
    ),
    clusters(
        "two chiefs",
        {"chief": ["a:2222", "b:2222"]},
        {"type": "chief", "index": 0},
        "TF_CONFIG has 2 chiefs and 0 workers: name one worker or more, and at most "
        "one chief.",
    ),
    clusters(
        "a parameter server",
        {"worker": ["a:2222"], "ps": ["b:2222"]},
        FIRST,
        "TF_CONFIG has the job 'ps': name workers, and at most one chief, for all of "
        "them train alike.",
    ),
    clusters(
        "workers that are no list",
        {"worker": "a:2222"},
        FIRST,
        f"TF_CONFIG=TEXT gives 'worker' no list of addresses: write it as {EXAMPLE}.",
    ),
    clusters(
        "a worker without a port",
        {"worker": ["a:2222", "b"]},
        FIRST,
        f"TF_CONFIG has the address 'b': {ADDRESS}",
    ),
    clusters(
        "a worker twice",
        {"worker": ["a:2222", "a:2222"]},
        FIRST,
        "TF_CONFIG has a:2222 twice: give each worker its own.",
    ),
    Case(
        "a data service without a port",
        "train TINY --data_service=nowhere",
        2,
        f"--data_service=nowhere is no address: {ADDRESS}",
    ),
    Case(
        "a data service of nothing",
        "train TINY --data_service=",
        2,
        f"--data_service= is no address: {ADDRESS}",
    ),
    Case(
        "a web address as data service",
        "train TINY --data_service=http://localhost:5050",
        2,
        f"--data_service=http://localhost:5050 is no address: {ADDRESS}",
    ),
    Case(
        "a data service at a port that there is not",
        "train TINY --data_service=localhost:70000",
        2,
        f"--data_service=localhost:70000 is no address: {ADDRESS}",
    ),
    Case(
        "a data service that is not up",
        f"train TINY --data_service={CLOSED}",
        1,
        f"--data_service={CLOSED} does not answer (Connection refused): start it first "
        "with python -m deml_tf.data_service, or leave the flag out.",
    ),
    Case(
        "a word after data_service",
        "data_service images",
        2,
        "'images' is no flag: flags start with --.",
    ),
    Case(
        "a negative port",
        "data_service --port=-1",
        2,
        "--port=-1: it must be from 1 to 65535, or 0 for a free one.",
    ),
    Case(
        "a port that there is not",
        "data_service --port=70000",
        2,
        "--port=70000: it must be from 1 to 65535, or 0 for a free one.",
    ),
    Case(
        "a port that another program has",
        f"data_service --port={TAKEN}",
        2,
        f"--port={TAKEN} cannot be used (Address already in use): name a free one, or "
        "0 for any.",
        take_port,
    ),
    Case(
        "a worker that the dispatcher's machine would look for on itself",
        "data_service --port=0 --dispatcher=there:5050",
        2,
        "--host=localhost is each machine's name for itself, and "
        "--dispatcher=there:5050 is on another: give the name by which other machines "
        "reach this one.",
    ),
    Case(
        "a host with a port",
        "data_service --port=0 --host=here:5050",
        2,
        "--host=here:5050 is no name of a machine: give what others call this one, "
        "without a port.",
    ),
    Case(
        "a host of nothing",
        "data_service --port=0 --host=",
        2,
        "--host= is no name of a machine: give what others call this one, without a "
        "port.",
    ),
    Case(
        "a dispatcher without a port",
        "data_service --port=0 --dispatcher=nowhere",
        2,
        f"--dispatcher=nowhere is no address: {ADDRESS}",
    ),
    Case(
        "a dispatcher that is not up",
        f"data_service --port=0 --dispatcher={CLOSED}",
        1,
        f"--dispatcher={CLOSED} does not answer (Connection refused): start it first "
        "with python -m deml_tf.data_service, or leave the flag out.",
    ),
    Case(
        "nothing to launch",
        "launch --workers=2",
        2,
        "No flags for deml_tf.train: write them after --.",
    ),
    Case(
        "no worker",
        "launch --workers=0 -- TINY",
        2,
        "--workers=0: it must be at least 1.",
    ),
    Case(
        "more workers than a machine bears",
        "launch --workers=1000 -- TINY",
        2,
        "--workers=1000: it must be at most 64.",
    ),
    Case(
        "a negative number of restarts",
        "launch --restarts=-1 -- TINY",
        2,
        "--restarts=-1: it must be at least 0.",
    ),
    Case(
        "flags of a training without -- before them",
        "launch --workers=2 --steps=3",
        2,
        "--steps=3 is no flag of this command: write flags of deml_tf.train after --.",
    ),
    Case(
        "a command to launch",
        "launch -- train TINY",
        2,
        "'train' is no flag: write only flags of deml_tf.train after --.",
    ),
    Case(
        "a launcher's flag after --",
        "launch -- TINY --restarts=3",
        2,
        "--restarts=3 is no flag of deml_tf.train: did you mean --memory_start, or see "
        "python -m deml_tf.train --help "
        "for all.",
    ),
    Case(
        "a training's mistake, launched",
        "launch -- TINY --scales=0",
        2,
        "--scales=0: it must be at least 1.",
    ),
)
