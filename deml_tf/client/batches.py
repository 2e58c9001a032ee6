"""Batches: images cut into requests, sent, and sent one by one if they are refused."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from deml_tf.client.answers import Answer
from deml_tf.client.failures import ServerError
from deml_tf.client.files import ImageFile
from deml_tf.client.transport import Outputs
from deml_tf.data.converted_formats import why_not_converted

if TYPE_CHECKING:  # it needs the extra, which is asked for later
    from deml_tf.client.retries import Patience

MOST_BYTES = 32 * 2**20
"""Images of one request together, if they are more than one."""

REFUSED = "refused by the server"
UNSOUND = "answered by the server with no unit vector, or a box outside the image"
Found = list[tuple[int, Answer]]
Predict = Callable[[list[bytes], float], Outputs]
"""Embeds encoded images, within so many seconds; may raise `ServerError`."""


def batches(
    sizes: Sequence[int], most: int, most_bytes: int = MOST_BYTES
) -> Iterator[range]:
    """Cut images into requests: neighbours, not too many, not too large.

    Args:
        sizes: Bytes of each image.
        most: Images in a request.
        most_bytes: Bytes in a request; a larger image goes alone.

    Yields:
        Ranges of indices.
    """
    start, total = 0, 0
    for index, size in enumerate(sizes):
        full = index - start == most or total + size > most_bytes
        if index > start and full:
            yield range(start, index)
            start, total = index, 0
        total += size
    if start < len(sizes):
        yield range(start, len(sizes))


def ask(
    predict: Predict, files: Mapping[int, ImageFile], patience: "Patience"
) -> tuple[Found, ServerError | None]:
    """Embed a batch, so that one bad image does not take its neighbours along.

    A server gives one error to a whole batch. Unless waiting mends it, the images are
    then sent one by one; those that are still refused are answered as not valid.

    Args:
        predict: The way to the server.
        files: By index.
        patience: How often to try.

    Returns:
        Indices and answers; and the error that stopped it before all images were
        asked for, one that concerns every image alike, such as an unavailable server.
    """
    found: Found = []
    images: dict[int, bytes] = {}
    for index, file in files.items():
        try:
            images[index] = file.read()
        except OSError as error:
            reason = f"cannot be read ({error.strerror or error})"
            found.append((index, Answer(reason=reason)))
    try:
        return found + _send(predict, images, patience), None
    except ServerError as error:
        if error.of_all:
            return found, error
    for index, image in images.items():
        try:
            found += _send_twice(predict, {index: image}, patience)
        except ServerError as error:
            if error.of_all:
                return found, error
            found.append((index, Answer(reason=f"{REFUSED} ({error})")))
    return found, None


def _send_twice(
    predict: Predict, images: Mapping[int, bytes], patience: "Patience"
) -> Found:
    # The server may have put it into a batch with another client's bad request.
    try:
        return _send(predict, images, patience)
    except ServerError as error:
        if error.of_all:
            raise
    return _send(predict, images, patience)


def _send(predict: Predict, images: Mapping[int, bytes], patience: "Patience") -> Found:
    if not images:
        return []
    contents = list(images.values())
    outputs = patience.call(lambda seconds: predict(contents, seconds))
    found: Found = []
    for index, embedding, valid, boxes, sound in zip(images, *outputs, strict=True):
        reason = "" if valid else why_not_converted(images[index]) or "not an image"
        found.append((index, Answer(embedding, boxes, reason if sound else UNSOUND)))
    return found
