"""embeddings.json: what all shards of a folder have in common."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from deml_tf.bulk.listed_images import ListedImage
from deml_tf.bulk.served_export import Export
from deml_tf.bulk.shard_format import (
    DESCRIPTION,
    FORMAT,
    KEYS,
    shard_number,
)
from deml_tf.bulk.shard_plan import ShardPlan
from deml_tf.bulk.whole_file import write_whole
from deml_tf.errors import DataError, UsageError
from deml_tf.runs.json_text import json_text

_OF_LIST = ("list_sha256", "images")
_OF_PLAN = ("shard_size", "batch_size", "shards")


def describe(
    export: Export, images: Sequence[ListedImage], plan: ShardPlan
) -> dict[str, Any]:
    """Compose embeddings.json.

    Args:
        export: The export that embeds the images.
        images: All images.
        plan: How they are cut into shards.

    Returns:
        A value for each of `KEYS`.
    """
    facts = {
        **export._asdict(),
        "format": FORMAT,
        "list_sha256": _hash(images),
        "images": len(images),
        "shard_size": plan.shard_size,
        "batch_size": plan.batch_size,
        "shards": plan.shards,
    }
    return {key: facts[key] for key in KEYS}


def write_description(output: Path, about: dict[str, Any]) -> None:
    """Write embeddings.json if there is none.

    Args:
        output: The folder of the shards, made if it is missing.
        about: As `describe` returns it.

    Raises:
        UsageError: As for `refuse_other`, if another process was faster.
    """
    if not (output / DESCRIPTION).exists():
        text = json_text(about, indent=2) + "\n"
        path = output / DESCRIPTION
        write_whole(path, lambda file: file.write(text.encode()), may_replace=False)
    refuse_other(output, about)


def refuse_other(output: Path, about: dict[str, Any]) -> None:
    """Refuse shards from another export, of other images or of other sizes.

    Args:
        output: The folder of the shards; it may be missing.
        about: As `describe` returns it.

    Raises:
        UsageError: The shards are such, or embeddings.json is missing beside them.
        DataError: Its embeddings.json cannot be read.
    """
    before = _read(output)
    if before is None:
        return
    now = json.loads(json_text(about))
    changed = [key for key in KEYS if before.get(key) != now[key]]
    if not changed:
        return
    what = f"output={output} holds embeddings"
    if not {*changed} <= {*_OF_LIST, *_OF_PLAN}:
        raise UsageError(
            f"{what} of another export ({_export(before)}, this is {_export(now)}): "
            "name another folder, or the export of then."
        )
    if set(changed) & {*_OF_LIST}:
        raise UsageError(
            f"{what} of other images ({before.get('images')} with their labels, these "
            f"are {now['images']}): name another folder, or the images of then."
        )
    name = next(key for key in _OF_PLAN if key in changed)
    raise UsageError(
        f"{name}={now[name]}, but {output} was begun with {before.get(name)}: give "
        "that, or name another folder."
    )


def _read(output: Path) -> dict[str, Any] | None:
    path = output / DESCRIPTION
    try:
        return dict(json.loads(path.read_bytes()))
    except FileNotFoundError:
        entries = output.iterdir() if output.is_dir() else ()
        shards = sorted(e.name for e in entries if shard_number(e.name) is not None)
        if shards:
            raise UsageError(
                f"output={output} holds {shards[0]} but no {DESCRIPTION}, which says "
                "of what it is: name another folder."
            ) from None
        return None
    except (OSError, TypeError, ValueError) as error:
        raise DataError(
            f"{path} cannot be read ({getattr(error, 'strerror', None) or error}): "
            "name another folder."
        ) from error


def _export(about: dict[str, Any]) -> str:
    weights = str(about.get("weights_sha256"))[:8]
    return f"{about.get('model')} {about.get('version')} with weights {weights}"


def _hash(images: Sequence[ListedImage]) -> str:
    """Hash paths and labels as ASCII literals, which exist for every file name."""
    digest = hashlib.sha256()
    for path, label in images:
        digest.update(f"{path!a} {label!a}\n".encode())
    return digest.hexdigest()
