"""A stand-in for TensorFlow Serving, for tests: the same requests, the same failures.

    python -m tests.client.double --models=FOLDER --model_config_file=F
        --batching_parameters_file=F [--port=N --rest_api_port=N]

Runs SavedModels by the session loader, batches requests over clients, listens on
127.0.0.1 alone, and like the server only when its models are loaded and warm. Its ports
are then printed as JSON. `POST /faults` orders failures, see `Faults`.
"""

import argparse
import json
import os
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import numpy as np
import tensorflow as tf
from google.protobuf import text_format
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)
from tensorflow_serving.config import model_server_config_pb2

from tests.client import double_protos, double_rest
from tests.client.double_models import Batching, Models, Refusal

THREADS = 160  # requests at one time; each waits for its batch in one


class Faults:
    """Failures to order, for the next so many predictions."""

    def __init__(self):
        self.lock = threading.Lock()
        self.ordered = []
        self.predictions = 0

    def order(self, fault):
        """Orders one in place of all before; an empty one is none.

        `code`, `text`; `seconds` of delay; `times`, and predictions that go well
        `before`.
        """
        with self.lock:
            left = {"times": 1, "before": 0} | fault
            self.ordered = [left] if fault else []
            self.predictions = 0

    def strike(self):
        with self.lock:
            self.predictions += 1
            fault = self.ordered[0] if self.ordered else {"before": 0, "times": 0}
            past = self.predictions - fault["before"]
            if not 0 < past <= fault["times"]:
                return
        time.sleep(fault.get("seconds", 0))
        if "code" in fault:
            raise Refusal(fault["code"], fault.get("text", "ordered"))


class PredictionService(prediction_service_pb2_grpc.PredictionServiceServicer):
    def __init__(self, models, faults):
        self.models, self.faults = models, faults

    def Predict(self, request, context):  # noqa: N802
        try:
            self.faults.strike()
            number, model = find(self.models, request.model_spec)
            name = request.model_spec.signature_name or "serving_default"
            inputs = {n: tf.make_ndarray(t) for n, t in request.inputs.items()}
            outputs = model.predict(
                name,
                inputs,
                context.time_remaining(),
                lambda s: Refusal(
                    "FAILED_PRECONDITION", f'Serving signature key "{s}" not found.'
                ),
            )
            wanted = list(request.output_filter) or list(outputs)
            missing = [n for n in wanted if n not in outputs]
            if missing:
                raise Refusal(
                    "INVALID_ARGUMENT",
                    f"output tensor alias not found in signature: {missing[0]}",
                )
        except Refusal as refusal:
            context.abort(grpc.StatusCode[refusal.code], str(refusal))
        response = predict_pb2.PredictResponse()
        response.model_spec.name = request.model_spec.name
        response.model_spec.version.value = number
        response.model_spec.signature_name = name
        for n in wanted:
            response.outputs[n].CopyFrom(by_value(outputs[n]))
        return response

    def GetModelMetadata(self, request, context):  # noqa: N802
        try:
            number, model = find(self.models, request.model_spec)
        except Refusal as refusal:
            context.abort(grpc.StatusCode[refusal.code], str(refusal))
        found = get_model_metadata_pb2.SignatureDefMap()
        for name, signature in model.signatures.items():
            found.signature_def[name].CopyFrom(signature)
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        response.model_spec.name = request.model_spec.name
        response.model_spec.version.value = number
        response.metadata["signature_def"].Pack(found)
        return response


class ModelService(model_service_pb2_grpc.ModelServiceServicer):
    def __init__(self, models):
        self.models = models

    def GetModelStatus(self, request, context):  # noqa: N802
        try:
            find(self.models, request.model_spec)
        except Refusal as refusal:
            context.abort(grpc.StatusCode[refusal.code], str(refusal))
        response = get_model_status_pb2.GetModelStatusResponse()
        for number in self.models.versions[request.model_spec.name]:
            response.model_version_status.add(
                version=number,
                state=get_model_status_pb2.ModelVersionStatus.AVAILABLE,
            )
        return response


def find(models, spec):
    version = spec.version.value if spec.HasField("version") else None
    return models.find(spec.name, version, spec.version_label)


def by_value(array):
    """A tensor message with a value each, as the server writes them."""
    shape = tf.TensorShape(array.shape).as_proto()
    if array.dtype == np.float32:
        tensor = tf.make_tensor_proto(0.0, shape=()).__class__(dtype=1)
        tensor.float_val.extend(array.ravel().tolist())
    elif array.dtype == bool:
        tensor = tf.make_tensor_proto(0.0, shape=()).__class__(dtype=10)
        tensor.bool_val.extend(array.ravel().tolist())
    else:
        return tf.make_tensor_proto(array)
    tensor.tensor_shape.CopyFrom(shape)
    return tensor


def warm(models):
    """Bytes that are no image: enough to have the graph optimised."""
    for versions in models.versions.values():
        for version in versions.values():
            broken = np.array([b"", b""], object)
            inputs = {"image_bytes": broken}
            version.predict("serving_default", inputs, None, KeyError)


def serve(models, model_config_file, batching_parameters_file, port=0, rest_port=0):
    """Loads the models and listens; returns the two servers and their ports."""
    config = text_format.Parse(
        model_config_file.read_text(), model_server_config_pb2.ModelServerConfig()
    )
    parameters = double_protos.parse("BatchingParameters", batching_parameters_file)
    loaded, faults = Models(config, models, Batching.of(parameters)), Faults()
    warm(loaded)
    server = grpc.server(
        ThreadPoolExecutor(THREADS),
        options=[
            ("grpc.max_receive_message_length", -1),
            ("grpc.max_send_message_length", -1),
            ("grpc.so_reuseport", 0),  # else two doubles could share a port
        ],
    )
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
        PredictionService(loaded, faults), server
    )
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(
        ModelService(loaded), server
    )
    ports = {"grpc": server.add_insecure_port(f"127.0.0.1:{port}")}
    rest = double_rest.serve(loaded, faults, rest_port)
    ports["rest"] = rest.server_address[1]
    server.start()
    return server, rest, ports


def end_with_stdin():
    sys.stdin.read()
    os._exit(0)


def main():
    parser = argparse.ArgumentParser()
    for name in ("models", "model_config_file", "batching_parameters_file"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--rest_api_port", type=int, default=0)
    parser.add_argument("--with_parent", action="store_true", help="end with stdin")
    flags = parser.parse_args()
    if flags.with_parent:
        threading.Thread(target=end_with_stdin, daemon=True).start()
    _server, rest, ports = serve(
        flags.models,
        flags.model_config_file,
        flags.batching_parameters_file,
        flags.port,
        flags.rest_api_port,
    )
    print(json.dumps(ports), flush=True)
    rest.serve_forever()


if __name__ == "__main__":
    main()
