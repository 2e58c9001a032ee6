"""The end of a training: score the unseen classes once, save, report."""

from deml_tf.config import Configs
from deml_tf.data.sets import find_set
from deml_tf.data.splits import protocol
from deml_tf.models.cost import gmacs, parameters
from deml_tf.models.embedder import (
    build_frozen,
    explainer,
    geometry_of,
)
from deml_tf.reports.examples import attention_examples, retrievals, write_images
from deml_tf.reports.run_page import write_report
from deml_tf.retrieval.embedding import embed, inference
from deml_tf.retrieval.metrics import evaluate
from deml_tf.retrieval.scoring import labels_of, score
from deml_tf.runs.atomic import save_atomically
from deml_tf.runs.folder import RunFolder


def finish(run: RunFolder, embedder, split, configs: Configs, replicas=1):
    """Saves the embedder, scores the unseen classes and writes the report.

    Nothing here depends on how far an earlier, killed try came: it starts anew, and
    `results.json`, which marks a run as finished, is written last.

    Args:
        run: The open run folder.
        embedder: The trained embedder.
        split: The `Split`.
        configs: The run's `Configs`.
        replicas: On how many the training ended.

    Returns:
        What `results.json` holds.
    """
    data, model, _, train, scoring = configs
    geometry = geometry_of(embedder)
    save_atomically(run.embedder_path, embedder.save)
    embedding = {
        "resize_size": geometry.resize_size,
        "fit": geometry.fit,
        "batch_size": scoring.scoring_batch_size,
    }
    ranks = scoring.ranks or find_set(data.dataset).ranks
    forward = inference(explainer(embedder))()
    outputs = embed(forward, split.test, progress="scoring", **embedding)
    gallery = None
    if split.gallery:
        gallery = embed(forward, split.gallery, progress="gallery", **embedding)
    scores = score(
        outputs,
        split.test,
        ranks=ranks,
        seed=train.seed,
        gallery_outputs=gallery,
        gallery=split.gallery,
    )
    embedding["resize_size"] = model.resize_size  # for what is one scale only
    frozen = score_frozen(model, split, ranks, train.seed, embedding)
    metrics = run.metrics()
    results = {
        "dataset": {"kind": data.dataset, "data_dir": str(data.data_dir)},
        "protocol": protocol(split),
        "model": describe(explainer(embedder), model),
        "frozen": frozen,
        "test": scores["joined"],
        "per_scale": scores["per_scale"],
        "object_attention": scores["object_attention"],
        "train": {**training_facts(run), "replicas": replicas},
        "seed": train.seed,
    }
    found = retrievals(
        outputs["embedding"],
        split.test,
        seed=train.seed,
        gallery_embeddings=gallery and gallery["embedding"],
        gallery=split.gallery,
    )
    attention = attention_examples(outputs, split.test, seed=train.seed)
    write_images(run.tensorboard_path, attention, found, results["train"]["steps"])
    write_report(
        run.report_path,
        title=run.path.name,
        results=results,
        metrics=metrics,
        retrievals=found,
        attention=attention,
        flags=run.flags(),
        environment=run.read_json("environment.json"),
    )
    run.write_json("results.json", results)
    return results


def score_frozen(model, split, ranks, seed, embedding):
    """Scores the untrained backbone's pooled features: what training must beat."""
    frozen = build_frozen(model, seed)
    forward = inference(frozen)()
    features = embed(forward, split.test, progress="frozen start", **embedding)
    labels, gallery_labels = labels_of(split.test, split.gallery)
    gallery = None
    if split.gallery:
        gallery = embed(forward, split.gallery, progress="its gallery", **embedding)
    return evaluate(
        features,
        labels,
        ranks,
        gallery_embeddings=gallery,
        gallery_labels=gallery_labels,
        nmi=True,
        seed=seed,
    )


def describe(network, model):
    """Size and cost of an explainer's network."""
    scales, learners, part_dim = network.output["parts"].shape[1:]
    side = network.get_layer("deml").input.shape[1]
    return {
        "name": f"DeML({scales},{learners})" if scales * learners > 1 else "U512",
        "backbone": model.backbone,
        "scales": scales,
        "learners": learners,
        "embedding_dim": scales * learners * part_dim,
        "input_size": model.input_size,
        "parameters": parameters(network),
        "gmacs": gmacs(network.get_layer("deml"), side, side, 3),
    }


def training_facts(run):
    """Steps, time and speed of a training, from its journal."""
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
