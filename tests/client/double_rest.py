"""The REST side of the double: predictions, status, metadata, and faults to order."""

import base64
import json
import re
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np

from tests.client.double_models import Refusal

# As the server's own table of statuses.
STATUS = {
    "INVALID_ARGUMENT": 400,
    "FAILED_PRECONDITION": 400,
    "NOT_FOUND": 404,
    "RESOURCE_EXHAUSTED": 429,
    "INTERNAL": 500,
    "UNIMPLEMENTED": 501,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}
PATH = re.compile(
    r"/v1/models/([^/:]+)(?:/versions/(\d+)|/labels/([^/:]+))?(?:(:predict)|(/metadata))?"
)
SECONDS = 30  # the server's --rest_api_timeout_in_ms


def serve(models, faults, port):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            self.answer(self.get)

        def do_POST(self):
            self.answer(self.post)

        def log_message(self, *_):
            pass

        def answer(self, how):
            size = int(self.headers.get("Content-Length") or 0)
            body = self.rfile.read(size)
            try:
                status, found = 200, how(body)
            except Refusal as refusal:
                status, found = STATUS[refusal.code], {"error": str(refusal)}
            content = found if isinstance(found, bytes) else json.dumps(found).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def get(self, _):
            if self.path == "/faults":
                return {"predictions": faults.predictions}
            name, version, label, predict, metadata = self.parts()
            if predict:
                raise Refusal("NOT_FOUND", f"Not found: {self.path}")
            number, model = models.find(name, version, label)
            if metadata:
                return describe(name, number, model)
            return {
                "model_version_status": [
                    {
                        "version": str(number),
                        "state": "AVAILABLE",
                        "status": {"error_code": "OK", "error_message": ""},
                    }
                    for number in ([number] if version else models.versions[name])
                ]
            }

        def post(self, body):
            if self.path == "/faults":
                faults.order(json.loads(body))
                return {}
            name, version, label, predict, _ = self.parts()
            if not predict:
                raise Refusal("NOT_FOUND", f"Malformed request: POST {self.path}")
            faults.strike()
            _, model = models.find(name, version, label)
            try:
                request = json.loads(body)
            except ValueError as error:
                raise Refusal("INVALID_ARGUMENT", "JSON Parse error") from error
            inputs, by_row = read(request)
            outputs = model.predict(
                request.get("signature_name", "serving_default"),
                inputs,
                SECONDS,
                lambda s: Refusal(
                    "INVALID_ARGUMENT",
                    f'Serving signature name: "{s}" not found in signature def',
                ),
            )
            if not by_row:
                return {"outputs": {n: array.tolist() for n, array in outputs.items()}}
            rows = zip(*(array.tolist() for array in outputs.values()), strict=True)
            return {"predictions": [dict(zip(outputs, r, strict=True)) for r in rows]}

        def parts(self):
            found = PATH.fullmatch(self.path)
            if not found:
                raise Refusal("NOT_FOUND", f"Malformed request: {self.path}")
            name, version, label, predict, metadata = found.groups()
            return name, version and int(version), label, predict, metadata

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = True
    return server


def read(request):
    """Arrays by name, of the row form (`instances`) or the column form (`inputs`)."""
    if "instances" in request:
        rows = request["instances"]
        if not (rows and isinstance(rows, list) and isinstance(rows[0], dict)):
            raise Refusal("INVALID_ARGUMENT", "instances must be a list of objects")
        columns = {name: [row[name] for row in rows] for name in rows[0]}
    elif "inputs" in request:
        columns = request["inputs"]
    else:
        raise Refusal("INVALID_ARGUMENT", "Missing 'inputs' or 'instances' key")
    return {n: array(values) for n, values in columns.items()}, "instances" in request


def array(values):
    if isinstance(values, list) and values and isinstance(values[0], dict):
        return np.array([base64.b64decode(value["b64"]) for value in values], object)
    found = np.array(values)
    return found.astype(np.float32) if found.dtype.kind == "f" else found


def describe(name, number, model):
    signatures = {
        key: {"inputs": {n: {"name": i.name} for n, i in signature.inputs.items()}}
        for key, signature in model.signatures.items()
    }
    return {
        "model_spec": {"name": name, "signature_name": "", "version": str(number)},
        "metadata": {"signature_def": {"signature_def": signatures}},
    }
