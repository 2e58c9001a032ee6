"""Have other machines read the batches (tf.data service), in the same order."""

import os
import socket
from collections.abc import Callable, Iterable, Iterator
from typing import Any, cast

import tensorflow as tf

from deml_tf.cli.error_text import why_not
from deml_tf.data.address import MEND, direct, split
from deml_tf.errors import DataError, UsageError

_AHEAD = 64  # batches that may arrive before the one that is waited for
_PATIENCE = 5  # seconds
# What a gRPC client sends first: the preface of HTTP/2 and empty settings. A server
# answers with its own settings.
_HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0"


def check_service(address: str, flag: str = "data_service") -> None:
    """Refuse an address at which no service answers; TensorFlow would wait an hour.

    Args:
        address: HOST:PORT of the dispatcher of a service.
        flag: Name of the argument that gives it, for the error message.

    Raises:
        UsageError: It is not an address.
        DataError: Nothing answers there, or something that does not speak gRPC.
    """
    host, port = _parts(address, flag)
    try:
        with socket.create_connection((host.strip("[]"), port), _PATIENCE) as server:
            server.sendall(_HELLO)
            answer = server.recv(len(_HELLO))
    except (OSError, UnicodeError) as error:  # the latter: not a host's name
        reason = getattr(error, "strerror", None) or error
        raise DataError(
            f"{flag}={address} does not answer ({reason}): start it first with "
            "python -m deml_tf.data_service, or leave the flag out."
        ) from error
    if answer[3:4] != b"\4":
        raise DataError(
            f"{flag}={address} is something else than a data service: name the address "
            "that python -m deml_tf.data_service prints, or leave the flag out."
        )


def through_service(
    numbers: tf.data.Dataset,
    read: Callable[[tf.data.Dataset], tf.data.Dataset],
    address: str,
) -> tf.data.Dataset:
    """Have a tf.data service read the batches, and put them back in order.

    The service hands the numbers of batches to its free workers. A batch depends on its
    number alone, so no state of the service has to be saved: a resumed training asks
    for the numbers that are left.

    Args:
        numbers: A range of batch numbers.
        read: Turns such a dataset into one of batches, one for each number, in order.
        address: HOST:PORT of the dispatcher of the service.

    Returns:
        The elements of `read(numbers)`, in the same order.

    Raises:
        UsageError: It is not an address.
        DataError: What answers there is not such a service. Also raised while
            iterating, if the service cannot be reached, cannot read a batch or loses
            one.
    """
    host, port = _parts(address)
    # One number at a time, each beside its batch.
    numbered = numbers.flat_map(
        lambda n: tf.data.Dataset.zip(
            tf.data.Dataset.from_tensors(n), read(tf.data.Dataset.from_tensors(n))
        )
    )
    os.environ.update(direct(host))  # it has answered without a proxy
    try:
        served = numbered.apply(
            tf.data.experimental.service.distribute(
                tf.data.experimental.service.ShardingPolicy.DYNAMIC,
                f"grpc://{host}:{port}",
            )
        )
    except tf.errors.OpError as error:
        reason = why_not(error).rstrip(": ")
        raise DataError(
            f"data_service={address} takes no data set ({reason}): name the address "
            "that python -m deml_tf.data_service prints, or leave the flag out."
        ) from error
    first, count = int(next(iter(numbers), 0)), int(numbers.cardinality())
    _, signature = cast(Any, numbered.element_spec)
    return tf.data.Dataset.from_generator(
        lambda: _in_order(served, range(first, first + count), address),
        output_signature=signature,
    )


def _in_order(
    served: tf.data.Dataset, numbers: Iterable[int], address: str
) -> Iterator[Any]:
    """Yield the batches of `numbers`, which arrive from the service in any order."""
    early: dict[int, Any] = {}
    arriving = iter(served)
    for number in numbers:
        while number not in early:
            if len(early) > _AHEAD:
                raise _lost(number, address)
            try:
                arrived, batch = next(arriving)
            except StopIteration:
                raise _lost(number, address) from None
            except tf.errors.UnavailableError as error:
                raise DataError(
                    f"data_service={address} does not answer: start it with "
                    "python -m deml_tf.data_service, or leave the flag out."
                ) from error
            except tf.errors.OpError as error:
                raise DataError(
                    f"data_service={address} gives no batch {number} "
                    f"({why_not(error)}): see that all of its machines have the "
                    "images under the path that this one has, or leave the flag out."
                ) from error
            early[int(arrived)] = batch
        yield early.pop(number)


def _parts(address: str, flag: str = "data_service") -> tuple[str, int]:
    parts = split(address.removeprefix("grpc://"))
    if not parts:
        raise UsageError(f"{flag}={address} is no address: {MEND}.")
    return parts


def _lost(number: int, address: str) -> DataError:
    return DataError(
        f"data_service={address} lost batch {number}, as when one of its workers ends: "
        "give the same command again; it goes on from the last checkpoint."
    )
