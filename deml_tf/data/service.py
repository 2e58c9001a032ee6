"""Batches read by other machines: tf.data service, exact order and resume kept."""

import re
from collections.abc import Callable
from typing import Any, cast

import tensorflow as tf

from deml_tf.errors import DataError, UsageError

_AHEAD = 64  # batches that may come before one that is waited for


def through_service(
    numbers: tf.data.Dataset,
    read: Callable[[tf.data.Dataset], tf.data.Dataset],
    address: str,
) -> tf.data.Dataset:
    """Has a tf.data service read the batches, and puts them back in order.

    The service hands the numbers of batches out to its workers as they get free; a
    number is all that a batch depends on. So nothing of the service need be saved: a
    training that goes on asks for the numbers that are left.

    Args:
        numbers: a range of batch numbers.
        read: makes of such a dataset one of batches, one for each number, in order.
        address: HOST:PORT of the service's dispatcher.

    Returns:
        What `read(numbers)` would give, element for element.

    Raises:
        UsageError: the address is none.
        DataError: when iterated, if the service cannot be reached or lost a batch.
    """
    host, _, port = address.removeprefix("grpc://").rpartition(":")
    if not host or not port.isdecimal():
        raise UsageError(f"data_service={address} is no address: write HOST:PORT.")
    # One number at a time, each beside its batch.
    numbered = numbers.flat_map(
        lambda n: tf.data.Dataset.zip(
            tf.data.Dataset.from_tensors(n), read(tf.data.Dataset.from_tensors(n))
        )
    )
    served = numbered.apply(
        tf.data.experimental.service.distribute(
            tf.data.experimental.service.ShardingPolicy.DYNAMIC,
            f"grpc://{host}:{port}",
        )
    )
    first = int(next(iter(numbers), 0))
    count = int(numbers.cardinality())

    def in_order():
        early = {}
        arriving = iter(served)
        for number in range(first, first + count):
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
                early[int(arrived)] = batch
            yield early.pop(number)

    _, signature = cast(Any, numbered.element_spec)
    return tf.data.Dataset.from_generator(in_order, output_signature=signature)


def service_error(error: tf.errors.OpError) -> DataError | None:
    """Finds what `through_service` said in the error that TensorFlow makes of it."""
    found = re.search(r"DataError: (data_service=.+)", str(error))
    return DataError(found.group(1)) if found else None


def _lost(number: int, address: str) -> DataError:
    return DataError(
        f"data_service={address} lost batch {number}, as when one of its workers ends: "
        "give the same command again; it goes on from the last checkpoint."
    )
