"""An embedder as an ONNX file, for onnxruntime."""

import functools
import os
from typing import Any

import numpy as np
import tensorflow as tf

from deml_tf.serving.square_servable import SIGNATURE, SquareServable

FILE = "model.onnx"
OPSET = 18
"""The first version that can scatter maxima; onnxruntime has it from 1.14 on."""

_LEFT_OUT = "einsum_optimizer"
"""tf2onnx's search for the best order of axes takes seconds for each of our products;
the runtime is as fast without it."""


def write_onnx(servable: SquareServable, path: str | os.PathLike[str]) -> None:
    """Write the embedder with a free batch dimension.

    Args:
        servable: What to write.
        path: The file.
    """
    import onnx
    from tf2onnx import optimizer, tf_loader, tfonnx

    traced: Any = servable.signatures[SIGNATURE].get_concrete_function()
    (source,) = traced.structured_input_signature[0]
    outputs = traced.structured_outputs
    names = {traced.inputs[0].name: source.name}
    names |= {tensor.name: name for name, tensor in outputs.items()}
    targets = [tensor.name for tensor in outputs.values()]
    frozen = tf_loader.from_function(traced, [traced.inputs[0].name], targets)
    with tf.Graph().as_default() as graph, tf.device("/cpu:0"):
        tf.import_graph_def(frozen, name="")
        converted = tfonnx.process_tf_graph(
            graph,
            opset=OPSET,
            input_names=[traced.inputs[0].name],
            output_names=targets,
            custom_op_handlers=_handlers(),
            tensors_to_rename=names,
        )
    passes = {
        name: kind
        for name, kind in optimizer._get_optimizers().items()
        if name != _LEFT_OUT
    }
    converted = optimizer.optimize_graph(converted, False, passes)
    model = converted.make_model("deml")
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    onnx.checker.check_model(model)
    onnx.save(model, os.fspath(path))


def _handlers() -> dict[str, tuple[Any, list[Any]]]:
    # Those of tf2onnx sort the segments first, and fail at maxima of whole numbers.
    return {
        "UnsortedSegmentMax": (functools.partial(_scatter, "max"), []),
        "UnsortedSegmentSum": (functools.partial(_scatter, "add"), []),
    }


def _scatter(reduction: str, context: Any, node: Any, name: str, args: Any) -> None:
    """Replace a node that takes (n,) numbers, their segments and the segment count."""
    from onnx import TensorProto, helper
    from tf2onnx import utils

    numbers, segments, count = node.input
    kind = context.get_dtype(numbers)
    numpy_kind = np.dtype(utils.map_onnx_to_numpy_type(kind))
    limits = np.iinfo if numpy_kind.kind == "i" else np.finfo
    lowest = limits(numpy_kind).min if reduction == "max" else 0
    empty = np.asarray(lowest, numpy_kind).item()
    value = helper.make_tensor("value", kind, [1], [empty])
    shapes, kinds = node.output_shapes, node.output_dtypes
    context.remove_node(node.name)
    one = context.make_const(utils.make_name("one"), np.array([1], np.int64)).output[0]
    count = context.make_node("Cast", [count], {"to": TensorProto.INT64}).output[0]
    shape = context.make_node("Reshape", [count, one]).output[0]
    start = context.make_node("ConstantOfShape", [shape], {"value": value}).output[0]
    context.make_node(
        "ScatterElements",
        [start, segments, numbers],
        {"axis": 0, "reduction": reduction},
        name=name,
        outputs=node.output,
        shapes=shapes,
        dtypes=kinds,
    )
