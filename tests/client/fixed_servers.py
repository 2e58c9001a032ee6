"""Servers that answer what they are told, right or wrong, over gRPC and HTTP."""

import contextlib
import json
import socket
import ssl
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import grpc
import numpy as np
from tensorflow.core.framework import tensor_pb2, types_pb2
from tensorflow_serving.apis import get_model_metadata_pb2, predict_pb2

# Their classes are made at import, which type checkers do not see.
PREDICTION: Any = predict_pb2
ABOUT: Any = get_model_metadata_pb2
TENSOR: Any = tensor_pb2
TYPES: Any = types_pb2

LOOPBACK = "127.0.0.1"
PREDICT, DESCRIBE = "predict", "describe"


def outputs(count=1):
    """A right answer to so many images."""
    return {
        "embedding": np.tile(np.array([0.6, 0.8], "float32"), (count, 1)),
        "valid": np.ones(count, bool),
        "boxes": np.tile(np.array([[0, 0, 1, 1]], "float32"), (count, 1, 1)),
    }


def predicted(arrays, version=1):
    """A PredictResponse."""
    response = PREDICTION.PredictResponse()
    response.model_spec.version.value = version
    for name, array in arrays.items():
        response.outputs[name].CopyFrom(tensor_of(array))
    return response


def tensor_of(array):
    kinds = {"f": TYPES.DT_FLOAT, "b": TYPES.DT_BOOL, "S": TYPES.DT_STRING}
    tensor = TENSOR.TensorProto(dtype=kinds[array.dtype.kind])
    for size in array.shape:
        tensor.tensor_shape.dim.add(size=size)
    if array.dtype.kind == "S":
        tensor.string_val.extend(array.ravel().tolist())
    else:
        tensor.tensor_content = array.tobytes()
    return tensor


def described(version=1):
    """A GetModelMetadataResponse."""
    found = ABOUT.SignatureDefMap()
    found.signature_def["serving_default"].inputs["image_bytes"].name = "x"
    response = ABOUT.GetModelMetadataResponse()
    response.model_spec.version.value = version
    response.metadata["signature_def"].Pack(found)
    return response


def predicted_json(arrays):
    return json.dumps({"outputs": {n: a.tolist() for n, a in arrays.items()}}).encode()


def described_json(version: int | str = 1):
    signatures = {"serving_default": {"inputs": {"image_bytes": {}}}}
    found = {"signature_def": {"signature_def": signatures}}
    spec = {"version": str(version)}
    return json.dumps({"model_spec": spec, "metadata": found}).encode()


class Seen(list):
    """Requests: for each, what was asked, its headers by lower-case name, its body."""


@contextlib.contextmanager
def grpc_server(answer, credentials=None, compression=None):
    """Gives the address and what was `Seen`; `answer(PREDICT, request, context)`."""
    seen = Seen()

    class Handler(grpc.GenericRpcHandler):
        def service(self, details):
            what = PREDICT if details.method.endswith("/Predict") else DESCRIBE
            headers = dict(details.invocation_metadata)

            def behaviour(request, context):
                seen.append((what, headers, request))
                found = answer(what, request, context)
                return found if isinstance(found, bytes) else found.SerializeToString()

            return grpc.unary_unary_rpc_method_handler(behaviour)

    options = [("grpc.max_send_message_length", -1), ("grpc.so_reuseport", 0)]
    server = grpc.server(ThreadPoolExecutor(8), [Handler()], None, options, None)
    if compression is not None:
        server = grpc.server(
            ThreadPoolExecutor(8), [Handler()], None, options, None, compression
        )
    place = f"{LOOPBACK}:0"
    if credentials:
        port = server.add_secure_port(place, credentials)
    else:
        port = server.add_insecure_port(place)
    server.start()
    try:
        yield f"{LOOPBACK}:{port}", seen
    finally:
        server.stop(0).wait()


@contextlib.contextmanager
def http_server(answer, context=None):
    """Gives the address and what was `Seen`.

    `answer(method, path, body)` gives a status, a body, and headers if it has any.
    """
    seen = Seen()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def reply(self):
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            seen.append((f"{self.command} {self.path}", headers, body))
            status, content, *more = answer(self.command, self.path, body)
            self.send_response(status)
            given = {"Content-Length": str(len(content))} | (more[0] if more else {})
            for name, value in given.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_CONNECT = reply

        def log_message(self, *_):
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_):
            pass

    server = Server((LOOPBACK, 0), Handler)
    server.daemon_threads = True
    if context:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield f"{LOOPBACK}:{server.server_address[1]}", seen
    finally:
        server.shutdown()
        server.server_close()


@contextlib.contextmanager
def raw_server(talk):
    """Calls `talk(connection)` for each connection; gives the address."""
    listener = socket.create_server((LOOPBACK, 0))

    def serve():
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=one, args=(connection,), daemon=True).start()

    def one(connection):
        with contextlib.suppress(OSError), connection:
            talk(connection)

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield f"{LOOPBACK}:{listener.getsockname()[1]}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)  # wakes `serve`
        listener.close()


def right(method, path, body):
    """What a right server of version 1 says over HTTP."""
    if method == "GET":
        return 200, described_json()
    return 200, predicted_json(outputs(len(json.loads(body)["inputs"]["image_bytes"])))


def right_grpc(what, request, context):
    """What a right server of version 1 says over gRPC."""
    if what == DESCRIBE:
        return described()
    message = PREDICTION.PredictRequest.FromString(request)
    return predicted(outputs(message.inputs["image_bytes"].tensor_shape.dim[0].size))


def certificates(folder):
    """Makes an authority and a certificate for 127.0.0.1; paths of both and its key."""

    def openssl(*arguments):
        subprocess.run(["openssl", *arguments], check=True, capture_output=True)

    ca, key, certificate = folder / "ca.pem", folder / "key.pem", folder / "cert.pem"
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    of_ca = ("-keyout", folder / "ca.key", "-out", ca, "-subj", "/CN=tests")
    openssl("req", "-x509", *curve, *of_ca, "-days", "2")
    request = ("-keyout", key, "-out", folder / "request", "-subj", "/CN=server")
    openssl("req", *curve, *request)
    (folder / "names").write_text(f"subjectAltName=IP:{LOOPBACK}")
    by = ("-CA", ca, "-CAkey", folder / "ca.key", "-extfile", folder / "names")
    asked = ("-in", folder / "request", "-out", certificate, "-days", "2")
    openssl("x509", "-req", *asked, *by, "-CAcreateserial")
    return ca, certificate, key


def tls_context(certificate, key):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


def tls_credentials(certificate, key):
    pair = (key.read_bytes(), certificate.read_bytes())
    return grpc.ssl_server_credentials([pair])
