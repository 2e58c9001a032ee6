"""The files of export/ parse, agree, and do on the double what they say."""

import json
import re
import shutil
import subprocess
from typing import Any

import pytest
import yaml
from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

from deml_tf.client.connection import Client
from deml_tf.serving.proof_images import drawn_images
from tests.client import double_protos
from tests.client.double_process import DEPLOYMENT, MODEL

CONFIGS: Any = model_server_config_pb2
README = (DEPLOYMENT / "README.md").read_text()
PATH = "/usr/bin:/bin"
IGNORED = (DEPLOYMENT.parent / ".gitignore").read_text()


@pytest.fixture(scope="module")
def models():
    text = (DEPLOYMENT / "models.config").read_text()
    config = text_format.Parse(text, CONFIGS.ModelServerConfig())
    return config.model_config_list.config


@pytest.fixture(scope="module")
def compose():
    return yaml.safe_load((DEPLOYMENT / "compose.yaml").read_text())["services"]


@pytest.fixture(scope="module")
def server_flags(compose):
    pairs = (
        flag.removeprefix("--").split("=") for flag in compose["serving"]["command"]
    )
    return dict(pairs)


def mounted(path, volumes):
    """Where a path inside a container lies beside compose.yaml."""
    for volume in volumes:
        here, there, mode = volume.split(":")
        if path == there or path.startswith(f"{there}/"):
            assert mode == "ro"
            return (DEPLOYMENT / here / path.removeprefix(there).lstrip("/")).resolve()
    raise AssertionError(f"{path} is not mounted")


def test_models_and_labels(models, compose):
    (model,) = models
    assert model.name == MODEL and model.model_platform == "tensorflow"
    versions = list(model.model_version_policy.specific.versions)
    assert versions and set(model.version_labels.values()) <= set(versions)
    assert "stable" in model.version_labels
    place = mounted(model.base_path, compose["serving"]["volumes"])
    assert place == DEPLOYMENT.resolve() / "models" / MODEL
    assert "export/models/" in IGNORED.split()


def test_the_canary_in_the_comment():
    text = (DEPLOYMENT / "models.config").read_text()
    lines = text.splitlines()
    start = next(n for n, line in enumerate(lines) if "# version_labels" in line)
    for n in range(start, start + 4):
        lines[n] = lines[n].replace("# ", "", 1)
    text = "\n".join(lines).replace("versions: 1", "versions: 1\nversions: 2", 1)
    config = text_format.Parse(text, CONFIGS.ModelServerConfig())
    (model,) = config.model_config_list.config
    assert dict(model.version_labels) == {"stable": 1, "canary": 2}
    assert list(model.model_version_policy.specific.versions) == [1, 2]


def test_batching():
    found = double_protos.parse("BatchingParameters", DEPLOYMENT / "batching.config")
    most = found.max_batch_size.value
    with Client("host:1", MODEL) as client:
        assert client.batch_size <= most
    assert not found.allowed_batch_sizes  # the last would have to be the largest batch
    assert found.num_batch_threads.value >= 1 <= found.max_enqueued_batches.value
    assert 0 <= found.batch_timeout_micros.value < 1e6
    with pytest.raises(text_format.ParseError):
        text_format.Parse("max_batch: 1", type(found)())


def test_metrics_have_one_path(compose):
    found = double_protos.parse("MonitoringConfig", DEPLOYMENT / "monitoring.config")
    assert found.prometheus_config.enable
    reader = yaml.safe_load((DEPLOYMENT / "prometheus.yml").read_text())
    (job,) = reader["scrape_configs"]
    assert job["metrics_path"] == found.prometheus_config.path
    (target,) = job["static_configs"][0]["targets"]
    name, port = target.split(":")
    assert name in compose and port == "8501"
    assert f"127.0.0.1:8501{found.prometheus_config.path}" in README


def test_the_server_is_told_of_all_files(compose, server_flags):
    volumes = compose["serving"]["volumes"]
    files = {n: f for n, f in server_flags.items() if n.endswith("_file")}
    assert {mounted(f, volumes).name for f in files.values()} == {
        "models.config",
        "batching.config",
        "monitoring.config",
    }
    assert all(mounted(f, volumes).is_file() for f in files.values())
    assert server_flags["enable_batching"] == "true"
    # labels of versions that are not loaded yet are refused at the start without it
    assert server_flags["allow_version_labels_for_unavailable_models"] == "true"


def test_every_container_is_hardened(compose):
    for name, service in compose.items():
        assert service["user"] == "65534:65534"
        assert service["read_only"] is True and service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert service["pids_limit"] and service["tmpfs"][0].startswith("/tmp:size=")
        assert service["mem_limit"] == service["memswap_limit"]
        image = re.fullmatch(r"\$\{(\w+):-[\w/]+:v?\d+\.\d+\.\d+\}", service["image"])
        assert image and image[1] == f"{name.upper()}_IMAGE" and image[1] in README
        assert not {"privileged", "cap_add", "network_mode"} & service.keys()
    pinned = compose["serving"]["image"].partition(":-")[2].removesuffix("}")
    assert re.fullmatch(r"tensorflow/serving:2\.\d+\.\d+", pinned)
    assert README.count(pinned) == 2
    assert "SERVING_MEMORY" in compose["serving"]["mem_limit"]
    assert "SERVING_MEMORY" in README


def test_ports(compose):
    ports = [port.split(":") for port in compose["serving"]["ports"]]
    assert ports == [["127.0.0.1", p, p] for p in ("8500", "8501")]
    assert compose["prometheus"]["ports"] == ["127.0.0.1:9090:9090"]
    assert compose["prometheus"]["profiles"] == ["monitoring"]
    assert set(re.findall(r"127\.0\.0\.1:(\d+)", README)) == {"8500", "8501", "9090"}
    assert "--server=127.0.0.1:8500" in README
    assert "--protocol=rest --server=127.0.0.1:8501" in README


def test_one_name_everywhere(compose):
    check = " ".join(compose["serving"]["healthcheck"]["test"])
    for text in (README, check):
        names = set(re.findall(r"/v1/models/(\w+)", text))
        assert names == {MODEL}
    assert f"--model={MODEL} --label=stable" in README
    assert f"--run_dir=runs/{MODEL}" in README
    demo = (DEPLOYMENT.parent / "Makefile").read_text()
    assert f"runs/{MODEL}" in demo


def test_every_file_is_explained():
    for path in DEPLOYMENT.iterdir():
        if path.is_file() and path.name != "README.md":
            assert f"`{path.name}`" in README


def shell(line, double, **options):
    for port, protocol in (("8500", "grpc"), ("8501", "rest")):
        line = line.replace(f"127.0.0.1:{port}", double.address(protocol))
        line = line.replace(
            f"127.0.0.1/{port}", double.address(protocol).replace(":", "/")
        )
    environment = {"PATH": PATH, "no_proxy": "127.0.0.1"}
    return subprocess.run(
        ["bash", "-c", line], env=environment, capture_output=True, text=True, **options
    )


@pytest.mark.skipif(not shutil.which("curl", path=PATH), reason="no curl here")
def test_the_line_with_curl(double, tmp_path):
    (line,) = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    image = drawn_images(1)[0]
    (tmp_path / "bird.jpg").write_bytes(image)
    found = shell(line, double, cwd=tmp_path)
    outputs = json.loads(found.stdout)["outputs"]
    assert outputs["valid"] == [True]
    with Client(double.address("grpc"), MODEL) as client:
        expected = client.embed([image])
    assert outputs["embedding"] == pytest.approx(expected.embedding, abs=1e-6)
    assert outputs["boxes"][0][0] == pytest.approx(expected.boxes[0, 0], abs=1e-5)


def test_the_example_in_python(double, tmp_path, monkeypatch, capsys):
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    (tmp_path / "bird.jpg").write_bytes(drawn_images(1)[0])
    monkeypatch.chdir(tmp_path)
    exec(code.replace("127.0.0.1:8500", double.address("grpc")), {})
    assert capsys.readouterr().out == "(1, 24) [ True]\n"


def test_the_health_check(double, compose):
    kind, *command, line = compose["serving"]["healthcheck"]["test"]
    assert [kind, *command] == ["CMD", "bash", "-c"]
    assert shell(line, double).returncode == 0
    assert shell(line.replace(MODEL, "cars"), double).returncode != 0
    assert shell(line.replace("AVAILABLE", "LOADING"), double).returncode != 0
    assert shell(line.replace("127.0.0.1/8501", "127.0.0.1/1"), double).returncode != 0
