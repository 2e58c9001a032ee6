"""What a model costs: parameters, and multiply-accumulates per image."""

import math
from collections.abc import Iterable
from typing import Any

import keras
import tensorflow as tf

Shape = tuple[int, ...]


def parameters(model: keras.Model) -> int:
    """Count a model's parameters, trainable or not, shared ones once.

    BatchNorm's moving averages and the state of random generators are left out, as in
    the usual counts (EfficientNet-Lite0 with its classifier: 4,652,008).

    Args:
        model: Any built Keras model.
    """
    counted = {
        id(variable): math.prod(variable.shape)
        for variable in model.weights
        if variable.name not in ("moving_mean", "moving_variance")
    }
    return sum(counted.values())


def gmacs(model: keras.Model, *input_shape: int) -> float:
    """Count the multiply-accumulates of one image through a model, in 1e9.

    The sum over the convolutions and matrix products of the traced graph in inference
    mode, which is what published figures count; elementwise work is left out. The body
    of a loop and every branch of a condition count once. A first axis whose size the
    graph leaves open counts as one image.

    Args:
        model: Any Keras model with one input.
        *input_shape: The input's shape without the batch axis, such as 224, 224, 3.

    Raises:
        ValueError: A product has no static shape, so that it cannot be counted.
    """
    traced = tf.function(lambda x: model(x, training=False), autograph=False)
    spec = tf.TensorSpec((1, *input_shape), model.inputs[0].dtype)
    return graph_gmacs(traced.get_concrete_function(spec))


def graph_gmacs(function: Any) -> float:
    """Count the multiply-accumulates of one call of a traced function, in 1e9.

    What `gmacs` counts, and the gradients of convolutions and matrix products: together
    the cost of a training step.

    Args:
        function: A concrete function, traced for inputs of static shape.

    Raises:
        ValueError: A product has no static shape, so that it cannot be counted.
    """
    definition = function.graph.as_graph_def(add_shapes=True)
    bodies = {body.signature.name: body for body in definition.library.function}

    def total(nodes: Iterable[Any], arguments: dict[str, list[Shape | None]]) -> int:
        shapes = arguments | {node.name: _shapes(node.attr) for node in nodes}
        count = 0
        for node in nodes:
            if node.op in _PRODUCTS:
                operands = [_operand(name, shapes) for name in node.input]
                output = shapes[node.name][0]
                if output is None or None in operands:
                    raise ValueError(
                        f"{node.name} ({node.op}) has no static shape, so that its "
                        "cost cannot be counted: give the model static shapes."
                    )
                count += _PRODUCTS[node.op](node.attr, operands, output)
            for function in _functions(node.attr):
                body = bodies[function]
                names = [argument.name for argument in body.signature.input_arg]
                known = {n: _shapes(body.arg_attr[i].attr) for i, n in enumerate(names)}
                count += total(body.node_def, known)
        return count

    return total(definition.node, {}) / 1e9


def _shapes(attributes: Any) -> list[Shape | None]:
    """Read a node's output shapes; None stands for one that is not fully static."""
    shapes = []
    for shape in attributes["_output_shapes"].list.shape:
        # The graph is traced for one image: a batch axis left open is that one.
        sizes = tuple(
            1 if axis == 0 and dim.size == -1 else dim.size
            for axis, dim in enumerate(shape.dim)
        )
        shapes.append(None if shape.unknown_rank or -1 in sizes else sizes)
    return shapes


def _operand(name: str, shapes: dict[str, list[Shape | None]]) -> Shape | None:
    """Find an input's shape: `node`, `node:2` or, inside a function, `node:out:2`."""
    node, *rest = name.split(":")
    index = int(rest[-1]) if rest else 0
    return shapes[node][index] if index < len(shapes[node]) else None


def _functions(attributes: Any) -> Iterable[str]:
    for attribute in attributes.values():
        if attribute.WhichOneof("value") == "func":
            yield attribute.func.name
        for function in attribute.list.func:
            yield function.name


def _convolution(_: Any, operands: list[Any], output: Shape) -> int:
    kernel = operands[1]  # (h, w, in a group, out)
    return math.prod(output) * math.prod(kernel[:3])


def _depthwise(_: Any, operands: list[Any], output: Shape) -> int:
    kernel = operands[1]  # (h, w, in, multiplier)
    return math.prod(output) * math.prod(kernel[:2])


def _convolution_gradient(_: Any, operands: list[Any], output: Shape) -> int:
    # Of the input: (input's sizes, kernel, gradient) -> (b, h, w, in); of the kernel:
    # (input, kernel's sizes, gradient) -> (h, w, in a group, out).
    kernel = operands[1] if len(operands[0]) == 1 else output
    return math.prod(operands[2]) * math.prod(kernel[:3])


def _depthwise_gradient(_: Any, operands: list[Any], output: Shape) -> int:
    kernel = operands[1] if len(operands[0]) == 1 else output
    return math.prod(operands[2]) * math.prod(kernel[:2])


def _matmul(attributes: Any, operands: list[Any], output: Shape) -> int:
    transposed = attributes["transpose_a"].b or attributes["adj_x"].b
    return math.prod(output) * operands[0][-2 if transposed else -1]


def _einsum(attributes: Any, operands: list[Any], output: Shape) -> int:
    """Multiply the sizes of all letters, those under an ellipsis once."""
    left, right = attributes["equation"].s.decode().split("->")
    sizes: dict[str, int] = {}
    for term, shape in zip(left.split(","), operands, strict=True):
        before, _, after = term.partition("...")
        sizes |= dict(zip(before, shape, strict=False))
        sizes |= dict(zip(reversed(after), reversed(shape), strict=False))
    letters = right.replace("...", "")
    shared = math.prod(output) // math.prod(sizes[letter] for letter in letters)
    return math.prod(sizes.values()) * shared


_PRODUCTS = {
    "Conv2D": _convolution,
    "Conv2DBackpropFilter": _convolution_gradient,
    "Conv2DBackpropInput": _convolution_gradient,
    "DepthwiseConv2dNative": _depthwise,
    "DepthwiseConv2dNativeBackpropFilter": _depthwise_gradient,
    "DepthwiseConv2dNativeBackpropInput": _depthwise_gradient,
    "MatMul": _matmul,
    "BatchMatMul": _matmul,
    "BatchMatMulV2": _matmul,
    "BatchMatMulV3": _matmul,
    "Einsum": _einsum,
}
