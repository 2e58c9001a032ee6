"""The end of a training: score the unseen classes once, save, report."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras

from deml_tf.config import Configs, ModelConfig
from deml_tf.data.sets import find_set
from deml_tf.data.splits import Split, protocol
from deml_tf.models.cost import gmacs, parameters
from deml_tf.models.embedder import CORE, build_frozen, explainer
from deml_tf.reports.examples import attention_examples, retrievals, write_images
from deml_tf.reports.run_page import write_report
from deml_tf.retrieval.embedding import embed, inference
from deml_tf.retrieval.metrics import evaluate
from deml_tf.retrieval.score_images import embedding_of
from deml_tf.retrieval.scoring import labels_of, score
from deml_tf.runs.atomic import save_atomically
from deml_tf.runs.folder import RunFolder


def finish(
    run: RunFolder,
    embedder: keras.Model,
    split: Split,
    configs: Configs,
    replicas: int = 1,
) -> dict[str, Any]:
    """Save the embedder, score the unseen classes and write the report.

    Nothing here depends on how far an earlier, killed attempt came: all is done anew,
    and `results.json`, which marks a run as finished, is written last.

    Args:
        run: The open run folder.
        embedder: The trained embedder.
        split: Seen and unseen images.
        configs: The run's settings.
        replicas: Number of replicas with which the training ended.

    Returns:
        What `results.json` holds.
    """
    save_atomically(run.embedder_path, embedder.save)
    network = explainer(embedder)
    embedding = embedding_of(embedder, configs.score)
    outputs, gallery = _embed_unseen(network, split, embedding, "scoring", "gallery")
    data = configs.data
    ranks = configs.score.ranks or find_set(data.dataset).ranks
    scores_frozen = configs.train.score_frozen
    scores = score(
        outputs,
        split.test,
        ranks=ranks,
        seed=configs.train.seed,
        gallery_outputs=gallery,
        gallery=split.gallery,
    )
    results = {
        "dataset": {"kind": data.dataset, "data_dir": str(data.data_dir)},
        "protocol": protocol(split),
        "model": describe(network, configs.model),
        "frozen": score_frozen(configs, split, ranks) if scores_frozen else None,
        "test": scores["joined"],
        "per_scale": scores["per_scale"],
        "learners": scores["learners"],
        "embedding": scores["embedding"],
        "object_attention": scores["object_attention"],
        "train": {**training_facts(run), "replicas": replicas},
        "seed": configs.train.seed,
    }
    _report(run, results, split, outputs, gallery)
    run.write_json("results.json", results)
    return results


def score_frozen(
    configs: Configs, split: Split, ranks: Sequence[int]
) -> dict[str, Any]:
    """Score the untrained backbone's pooled features: what training must beat.

    Args:
        configs: The run's settings.
        split: Its unseen images.
        ranks: The K of Recall@K.

    Returns:
        What `retrieval.evaluate` returns, with NMI.
    """
    seed = configs.train.seed
    frozen = build_frozen(configs.model, seed)
    embedding = embedding_of(frozen, configs.score)
    titles = ("frozen start", "its gallery")
    features, gallery = _embed_unseen(frozen, split, embedding, *titles)
    labels, gallery_labels = labels_of(split.test, split.gallery)
    return evaluate(
        features,
        labels,
        ranks,
        gallery_embeddings=gallery,
        gallery_labels=gallery_labels,
        nmi=True,
        seed=seed,
    )


def describe(network: keras.Model, model: ModelConfig) -> dict[str, Any]:
    """Return size and cost of a network.

    The cost is that of an embedding, which does not need the last scale's region.

    Args:
        network: What `explainer` returns.
        model: Its settings.
    """
    outputs: Any = network.output
    scales, learners, part_dim = outputs["parts"].shape[1:]
    core: Any = network.get_layer(CORE)
    embedding = keras.Model(core.input, core.output["embedding"])
    side, is_several = core.input.shape[1], scales * learners > 1
    return {
        "name": f"DeML({scales},{learners})" if is_several else f"U{part_dim}",
        "backbone": model.backbone,
        "scales": scales,
        "learners": learners,
        "embedding_dim": scales * learners * part_dim,
        "input_size": model.input_size,
        "parameters": parameters(network),
        "gmacs": gmacs(embedding, side, side, 3),
    }


def training_facts(run: RunFolder) -> dict[str, Any]:
    """Return steps, time and speed of a training, from its journal.

    Args:
        run: The run's folder.
    """
    steps = seconds = images = best_step = 0
    best = -1.0
    for record in run.metrics():
        if "images_per_second" in record:
            seconds += record["seconds"]
            images += record["seconds"] * record["images_per_second"]
            steps = record["step"]
        scored = record.get("validation_map_at_r")
        if scored is not None and scored > best:
            best, best_step = scored, record["step"]
    return {
        "steps": steps,
        "best_step": best_step or steps,
        "seconds": seconds,
        "images_per_second": images / seconds if seconds else None,
    }


def _embed_unseen(
    model: keras.Model,
    split: Split,
    embedding: Mapping[str, Any],
    title: str,
    gallery_title: str,
) -> tuple[Any, Any]:
    """Return a model's outputs for the unseen images, and for their gallery, if any."""
    forward = inference(model)()
    outputs = embed(forward, split.test, progress=title, **embedding)
    if not split.gallery:
        return outputs, None
    return outputs, embed(forward, split.gallery, progress=gallery_title, **embedding)


def _report(
    run: RunFolder, results: dict[str, Any], split: Split, outputs: Any, gallery: Any
) -> None:
    """Write the page, and its images for TensorBoard."""
    seed = results["seed"]
    found = retrievals(
        outputs["embedding"],
        split.test,
        seed=seed,
        gallery_embeddings=gallery and gallery["embedding"],
        gallery=split.gallery,
    )
    attention = attention_examples(outputs, split.test, seed=seed)
    write_images(run.tensorboard_path, attention, found, results["train"]["steps"])
    write_report(
        run.report_path,
        title=run.path.name,
        results=results,
        metrics=run.metrics(),
        retrievals=found,
        attention=attention,
        flags=run.flags(),
        environment=run.read_json("environment.json"),
    )
