"""The card that goes with an export, its study and its way to the Hub."""

import importlib
import types

import pytest
import yaml

from deml_tf.errors import DataError, UsageError
from deml_tf.serving import hub
from deml_tf.serving.model_card import model_card
from deml_tf.serving.study_scores import scores_over_seeds
from deml_tf.studies.intervals import Estimate
from deml_tf.studies.plan import read_variants
from deml_tf.studies.records import Record
from deml_tf.studies.study_file import StudyFile

ABOUT = {
    "name": "birds: small",
    "version": 3,
    "exported": "2026-01-02T03:04:05+00:00",
    "embedding": {"size": 16, "parts": {"scales": 2, "learners": 1, "size": 8}},
    "precision": "float32",
    "weights_sha256": "ab" * 32,
    "preprocessing": {"fit": "squash", "resize_size": 40},
    "made_with": {"python": "3.11", "packages": {"keras": "3.15"}},
    "threshold": {
        "cosine": 0.75,
        "measured_false_accept_rate": 0.01,
        "true_accept_rate": 0.26,
        "depends_on": "the size of the gallery",
    },
    "model": {"name": "DeML(2,1)", "backbone": "small", "parameters": 2.5e6},
    "dataset": {"kind": "folder"},
    "protocol": {"test_images": 30, "test_classes": 4},
    "test": {"recall_at_1": 0.5, "map_at_r": 0.25, "queries": 30},
}


def header(card):
    """What the Hub reads."""
    assert card.startswith("---\n")
    return yaml.safe_load(card.split("---\n")[1])


def test_the_header_is_what_the_hub_reads():
    card = model_card(ABOUT, "apache-2.0")
    head = header(card)
    assert head["license"] == "apache-2.0"
    assert head["pipeline_tag"] == "image-feature-extraction"
    (model,) = head["model-index"]
    assert model["name"] == "birds: small"
    (result,) = model["results"]
    assert result["dataset"] == {"type": "folder", "name": "folder, unseen classes"}
    assert result["metrics"] == [
        {"type": "recall_at_1", "name": "Recall@1", "value": 0.5},
        {"type": "map_at_r", "name": "MAP@R", "value": 0.25},
    ]


def test_the_text_says_what_deml_json_says():
    card = model_card(ABOUT)
    for words in (
        "# birds: small, version 3",
        "DeML(2,1) on small, 2.5 million parameters",
        "scales kept: 2; learners of each: 1",
        "(30 images of 4 classes)",
        "| Recall@1 | 0.500 |\n| MAP@R | 0.250 |",
        "- resize size: 40",
        "below 0.7500 is called unknown: 1 % of images",
        "`" + "ab" * 32 + "`",
        "licence of the weights: not named",
    ):
        assert words in card
    assert "license" not in header(card)


def test_the_scores_of_every_rank():
    test = {"recall_at_100": 0.9, "map_at_r": None, "recall_at_10": 0.8, "x": 1}
    card = model_card(ABOUT | {"test": test | {"recall_at_1": 0.5}})
    wanted = "| Recall@1 | 0.500 |\n| Recall@10 | 0.800 |\n| Recall@100 | 0.900 |\n\n"
    assert wanted in card
    (model,) = header(card)["model-index"]
    names = [metric["type"] for metric in model["results"][0]["metrics"]]
    assert names == ["recall_at_1", "recall_at_10", "recall_at_100"]


def test_crops_are_named_where_they_are_needed():
    assert "crop" not in model_card(ABOUT | {"crop_to_box": False})
    card = model_card(ABOUT | {"crop_to_box": True})
    assert "## Preprocessing\n\n- first crop each image to its object" in card


def test_both_files_of_eight_bits():
    scores = {"images": 40, "classes": 4, "map_at_r": {"float32": 0.5, "int8": 0.25}}
    own = ABOUT["threshold"] | {"cosine": 0.625}
    for measured, words in (
        ({}, "at least 0.9800.\n"),
        (scores, "Of 40 images of 4 classes held out of training, MAP@R is 0.250,"),
        (scores | {"threshold": own}, "below 0.6250 is called unknown"),
    ):
        found = {"smallest_cosine": 0.98, **measured}
        card = model_card(ABOUT | {"format": "litert", "int8": found})
        assert words in card and "`model_int8.tflite` has weights of 8 bits" in card


def test_a_threshold_of_classes_of_one_image():
    """No image had another of its class to find."""
    alone = ABOUT["threshold"] | {"true_accept_rate": None}
    eight = {"smallest_cosine": 0.98, "threshold": alone}
    card = model_card(ABOUT | {"threshold": alone, "int8": eight})
    assert card.count("not hold pass this threshold. It depends on the size") == 2
    assert "threshold, and 26 % of those that it holds. It" in model_card(ABOUT)


def test_intervals_of_a_study():
    seeds = {"recall_at_1": Estimate(3, 0.48, 0.01, 0.455, 0.505)}
    card = model_card(ABOUT, over_seeds=seeds)
    assert "| Recall@1 | 0.500 | 0.480, 0.455 to 0.505 (3 seeds) |" in card
    assert "| MAP@R | 0.250 |  |" in card
    one = model_card(ABOUT, over_seeds={"map_at_r": Estimate(1, 0.3)})
    assert "| MAP@R | 0.250 | 0.300 (one seed) |" in one


def test_an_embedder_by_itself():
    bare = {key: None for key in ("model", "dataset", "protocol", "test")}
    nothing = {"cosine": None, "reason": "no images"}
    card = model_card(ABOUT | bare | {"threshold": nothing})
    assert "None: the embedder was exported without its run." in card
    assert "Unknown images" not in card and "model-index" not in header(card)


def study_of(tmp_path, variants):
    """A study.json: Recall@1 of each variant by seed, and what else is in the file."""
    path, common = tmp_path / "study.json", ["--dataset=folder", "--data_dir=images"]
    planned = read_variants([f"{name}:" for name in variants], common, None)
    file = StudyFile(path, planned, range(2), common)
    for variant in planned:
        for seed, value in enumerate(variants[variant.name]):
            numbers = {"recall_at_1": value}
            file.keep(Record(variant.name, seed, variant.flags, numbers, []))
    file.keep(Record("b", 1, {"steps": "9"}, {"recall_at_1": 0.9}, []))  # of other days
    file.keep(Record("gone", 0, {}, {"recall_at_1": 0.9}, []))
    return path


def test_scores_over_seeds(tmp_path):
    path = study_of(tmp_path, {"a": [0.1, 0.3], "b": [0.5]})
    found = scores_over_seeds(str(path), "a")
    assert found.keys() == {"recall_at_1"}
    assert found["recall_at_1"].n == 2
    assert found["recall_at_1"].mean == pytest.approx(0.2)
    with pytest.raises(UsageError, match="study_variant=c is no variant .* a, b"):
        scores_over_seeds(str(path), "c")
    with pytest.raises(UsageError, match="study_variant=None"):
        scores_over_seeds(str(path), None)
    path.unlink()
    only = study_of(tmp_path, {"b": [0.5]})
    assert scores_over_seeds(str(only), None)["recall_at_1"].mean == 0.5
    with pytest.raises(UsageError, match="is no file"):
        scores_over_seeds(str(tmp_path / "none.json"), "a")
    for text in ("{", "[]", '{"summary": 1}', '{"summary": [{"variant": "a"}]}'):
        path.write_text(text)
        with pytest.raises(DataError, match="is not what a study writes"):
            scores_over_seeds(str(path), "a")


class Refused(Exception):
    """What the Hub's library raises."""


@pytest.fixture
def library(monkeypatch):
    """Stands in for huggingface_hub and keeps what it is asked for."""
    asked = []

    class HfApi:
        def create_repo(self, name, **arguments):
            asked.append((name, arguments))

        def upload_folder(self, **arguments):
            if arguments["repo_id"] == "me/shut":
                raise Refused("401 Unauthorized. And more.")
            asked.append(arguments)
            return types.SimpleNamespace(commit_url="https://hub/commit/1")

    errors = types.SimpleNamespace(HfHubHTTPError=Refused)
    stand_in = types.SimpleNamespace(HfApi=HfApi, errors=errors)
    found = {"huggingface_hub": stand_in}
    real = importlib.import_module
    monkeypatch.setattr(
        hub.importlib, "import_module", lambda name: found.get(name) or real(name)
    )
    return asked


def test_a_version_is_pushed(library, tmp_path):
    name = hub.check_hub("hf://me/birds")
    assert hub.push(tmp_path, name, "birds, version 3") == "https://hub/commit/1"
    assert library == [
        ("me/birds", {"private": True, "exist_ok": True}),
        {
            "repo_id": "me/birds",
            "folder_path": str(tmp_path),
            "commit_message": "birds, version 3",
            "delete_patterns": "*",
        },
    ]


def test_what_the_hub_refuses_is_said(library, tmp_path):
    with pytest.raises(DataError, match="401 Unauthorized.*is whole in") as caught:
        hub.push(tmp_path, "me/shut", "")
    assert "And more" not in str(caught.value)


@pytest.mark.parametrize(
    "address", ["me/birds", "hf://birds", "hf://a/b/c", "hf://a/b c"]
)
def test_wrong_addresses(library, address):
    with pytest.raises(UsageError, match="give hf://OWNER/NAME"):
        hub.check_hub(address)


def test_without_the_library(monkeypatch):
    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr(hub.importlib, "import_module", missing)
    with pytest.raises(UsageError, match=r"pip install 'deml_tf\[hub\]'"):
        hub.check_hub("hf://me/birds")


@pytest.mark.parametrize(
    "changed",
    [
        {"model": {**ABOUT["model"], "scales": 3, "learners": 1}},
        {"model": {**ABOUT["model"], "scales": 2, "learners": 2}},
        {"difference_from_trained_precision": {"smallest_cosine": 0.99}},
        {"int8": {"smallest_cosine": 0.99}},
        {"crop_to_box": True},
    ],
)
def test_scores_of_another_embedder_are_not_its_own(changed):
    assert "model-index" in header(model_card(ABOUT))
    card = model_card(ABOUT | changed)
    assert "model-index" not in header(card)
    assert ("a part of DeML(2,1)" in card) == ("model" in changed)
    assert "They are of the whole embedder" in card
