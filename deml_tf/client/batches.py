"""Batches: images cut into requests, sent, and sent one by one if they are refused."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from deml_tf.client.answers import Answer
from deml_tf.client.failures import ServerError
from deml_tf.client.files import ImageFile
from deml_tf.client.transport import Outputs
from deml_tf.data.converted_formats import why_not_converted

if TYPE_CHECKING:  # it needs the extra, which is imported later
    from deml_tf.client.retries import Patience

MOST_BYTES = 32 * 2**20
"""Total size of a request's images, if it has more than one."""

REFUSED = "refused by the server"
UNSOUND = "answered by the server with no unit vector, or a box outside the image"
Found = list[tuple[int, Answer]]
Predict = Callable[[list[bytes], float], Outputs]
"""Embeds encoded images, within the seconds given; may raise `ServerError`."""


def batches(
    sizes: Sequence[int], most: int, most_bytes: int = MOST_BYTES
) -> Iterator[range]:
    """Cut images into requests of neighbours, not too many and not too large.

    Args:
        sizes: Bytes of each image.
        most: Images in a request, at most.
        most_bytes: Bytes in a request, at most; a larger image goes alone.

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
    """Embed a batch so that one bad image does not fail its neighbours.

    A server answers a whole batch with one error. Unless that concerns every image, the
    images are then sent one by one; those still refused are answered as not valid.

    Args:
        predict: Embeds images on the server.
        files: Images by index.
        patience: How long to keep trying.

    Returns:
        Indices and answers; and the error, if any, that stopped it before all images
        were sent, as it concerns every image alike, such as an unavailable server.
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
