"""The same shards from the workers of a Ray cluster."""

import shutil

import numpy as np
import pytest
from forks import Fork, run_module
from pyarrow import parquet

from deml_tf.bulk.ray_engine import _shares
from deml_tf.bulk.shard_format import shard_name
from deml_tf.errors import UsageError


@pytest.fixture(scope="module")
def flags(exported, mixed):
    return [
        f"--export={exported}",
        f"--images={mixed}",
        "--shard_size=4",
        "--batch_size=3",
    ]


@pytest.mark.slow
def test_ray_gives_the_same_shards(flags, command, tmp_path):
    names = [shard_name(n) for n in range(3)]
    tables, described = [], set()
    for engine in (["--engine=local"], ["--engine=ray", "--workers=2"]):
        output = tmp_path / engine[0]
        status, said, errors = command("embed", *flags, *engine, f"--output={output}")
        assert status == 0, errors
        assert "11 images in 3 of 3 shards, 3 not valid" in said
        assert all(name in said for name in names)
        tables.append([parquet.read_table(output / name) for name in names])
        described.add((output / "embeddings.json").read_bytes())
    assert len(described) == 1
    for local, ray in zip(*tables, strict=True):
        assert local.schema.equals(ray.schema, check_metadata=True)
        for name in set(local.column_names) - {"embedding", "boxes"}:
            assert local[name].to_pylist() == ray[name].to_pylist()
        for name in ("embedding", "boxes"):
            pairs = zip(local[name].to_pylist(), ray[name].to_pylist(), strict=True)
            for one, other in pairs:
                assert (one is None) == (other is None)
                if one is not None:
                    np.testing.assert_allclose(one, other, rtol=0, atol=1e-6)


@pytest.mark.slow
def test_what_fails_in_an_actor_is_said(exported, flags, command, tmp_path):
    broken = shutil.copytree(exported, tmp_path / "birds" / "3")
    next(broken.glob("variables/*.data*")).write_bytes(b"")
    flags = [f"--export={broken}", *flags[1:], f"--output={tmp_path / 'out'}"]
    status, _, errors = command("embed", *flags, "--engine=ray", "--workers=1")
    assert status == 1 and "Traceback" not in errors
    said = errors.splitlines()[-1]
    assert said.startswith(f"error: {broken} cannot be loaded (")


def test_the_whole_path_of_the_export_is_looked_at(tmp_path):
    """The actors load it by that, and TensorFlow would take it for a pattern."""
    place = tmp_path / "a[1]"
    place.mkdir()
    flags = ["--export=birds/3", "--images=.", "--output=out", "--engine=ray"]
    process = Fork(run_module, "deml_tf.embed", *flags, folder=place)
    _, errors = process.communicate()
    assert process.returncode == 2
    assert errors.startswith(f"error: --export={place}/birds/3 holds *, ?, [ or")


@pytest.mark.parametrize(
    ("machines", "workers", "share"),  # of each: CPUs, GPUs
    [
        ([(8, 0)], 1, (8, 0)),
        ([(8, 0)], 3, (2, 0)),
        ([(8, 1)], 2, (4, 0.5)),
        ([(8, 3)], 2, (4, 1)),
        ([(8, 4)], 2, (4, 2)),
        ([(8, 0)] * 4, 2, (8, 0)),
        ([(8, 0)] * 2, 3, (4, 0)),
        ([(8, 0), (3, 0), (0, 0)], 3, (3, 0)),
        ([(8, 1)] * 2, 3, (4, 0.5)),
        ([(8, 2)] * 2, 3, (4, 1)),
        ([(64, 0), (4, 2)], 2, (2, 1)),
        ([(2, 8), (2, 1)], 3, (1, 1)),
        ([(0, 8), (1, 1)], 1, (1, 1)),
    ],
)
def test_the_most_that_each_actor_finds_on_a_machine(machines, workers, share):
    cpus, gpus = share
    expected = {"num_cpus": cpus} | ({"num_gpus": gpus} if gpus else {})
    assert _shares([with_names(*has) for has in machines], workers) == expected


@pytest.mark.parametrize(
    ("machines", "said"),
    [
        ([(4, 0), (4, 0)], "8 CPUs"),
        ([(64, 0), (4, 2)], "4 CPUs on machines with GPUs"),
        ([], "0 CPUs"),
    ],
)
def test_more_actors_than_find_a_machine(machines, said):
    said = f"^workers=9: the Ray cluster has {said}; give as many or fewer.$"
    with pytest.raises(UsageError, match=said):
        _shares([with_names(*has) for has in machines], 9)


def with_names(cpus, gpus):
    """As Ray says what a machine has."""
    has = {"CPU": float(cpus), "GPU": float(gpus), "memory": 1e9}
    return {name: value for name, value in has.items() if value}
