"""Messages of the server's own files, which its Python package leaves out.

Fields and numbers as in session_bundle_config.proto and monitoring_config.proto of
tensorflow/serving; numbers do not matter to the text form that the server reads.
"""

from typing import Any

from google.protobuf import (
    descriptor_pb2,
    descriptor_pool,
    message_factory,
    text_format,
    wrappers_pb2,
)

_NUMBER = ".google.protobuf.Int64Value"
_MESSAGES = {
    "BatchingParameters": [
        ("max_batch_size", 1, _NUMBER),
        ("batch_timeout_micros", 2, _NUMBER),
        ("max_enqueued_batches", 3, _NUMBER),
        ("num_batch_threads", 4, _NUMBER),
        ("thread_pool_name", 5, ".google.protobuf.StringValue"),
        ("allowed_batch_sizes", 6, "int64"),
        ("pad_variable_length_inputs", 7, "bool"),
    ],
    "PrometheusConfig": [("enable", 1, "bool"), ("path", 2, "string")],
    "MonitoringConfig": [("prometheus_config", 1, ".double.PrometheusConfig")],
}


def _classes():
    kinds = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(
        name="double.proto", package="double", syntax="proto3"
    )
    file.dependency.append(wrappers_pb2.DESCRIPTOR.name)
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, number, kind in fields:
            repeated = field == "allowed_batch_sizes"
            message.field.add(
                name=field,
                number=number,
                label=kinds.LABEL_REPEATED if repeated else kinds.LABEL_OPTIONAL,
                type=getattr(
                    kinds,
                    f"TYPE_{'MESSAGE' if kind.startswith('.') else kind.upper()}",
                ),
                type_name=kind if kind.startswith(".") else None,
            )
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(wrappers_pb2.DESCRIPTOR.serialized_pb)
    pool.Add(file)
    return message_factory.GetMessageClassesForFiles(["double.proto"], pool)


CLASSES = {name.removeprefix("double."): c for name, c in _classes().items()}


def parse(name, path) -> Any:
    """Reads a text file as a message; an unknown field is a ParseError."""
    return text_format.Parse(path.read_text(), CLASSES[name]())
