"""No sum of a training step waits to see which of its terms is free first.

`AddN`, which `tf.add_n`, gradients and (through Grappler) `a + b + c` become, adds into
the first input that nobody else holds at that moment, and begins with it. Of three
inputs the first two of which are held by others too, the order hangs on the moment.
"""

import collections

import keras
import pytest
import tensorflow as tf
from small_backbone import build_tiny
from tensorflow.python.eager import context

from deml_tf.decoupling import DECOUPLINGS
from deml_tf.losses import BinomialDeviance
from deml_tf.models.embedder import core_of
from deml_tf.training.trainer import Trainer

# Their outputs are, or may be, the memory of an input.
SAME_MEMORY = {"Reshape", "Identity", "IdentityN", "Squeeze", "ExpandDims", "Snapshot"}
SAME_MEMORY |= {"StopGradient", "PreventGradient", "Unpack", "Split", "StridedSlice"}
HELD = {"Const", "_Arg", "ReadVariableOp"}


def optimized_graphs(function, *arguments):
    """What Grappler makes of the graphs that a call traces."""
    context.context().enable_run_metadata()
    function(*arguments)
    metadata = context.context().export_run_metadata()
    context.context().disable_run_metadata()
    return [graph.post_optimization_graph for graph in metadata.function_graphs]


def wavering_sums(graph):
    """Each `AddN` whose order is not settled by the graph, with its inputs."""
    nodes, consumers = {n.name: n for n in graph.node}, collections.defaultdict(list)

    def output(name):
        node, _, number = name.partition(":")
        return node, number or "0"

    for node in graph.node:
        for name in node.input:
            consumers[output(name)].append(node.name)

    def memory(value):
        while nodes[value[0]].op in SAME_MEMORY:
            value = output(nodes[value[0]].input[0])
        return value

    def holders(value):
        for name in consumers[value]:
            if nodes[name].op in SAME_MEMORY:
                yield from holders((name, "0"))
            else:
                yield name

    for node in graph.node:
        inputs = [memory(output(name)) for name in node.input if name[0] != "^"]
        held = [nodes[i[0]].op in HELD or len([*holders(i)]) > 1 for i in inputs]
        if node.op == "AddN" and all(held[:2]) and not all(held):
            yield node.name, [f"{i[0]}: {nodes[i[0]].op}" for i in inputs]


def test_the_check_finds_a_wavering_sum():
    @tf.function(autograph=False)
    def sums(x):
        a, b, c = tf.cos(x), tf.exp(x), tf.sin(x)  # Grappler sorts them
        return tf.add_n([a, b, c]), tf.linalg.det(a), tf.linalg.det(b)

    graphs = optimized_graphs(sums, tf.eye(3))
    assert [found for graph in graphs for found in wavering_sums(graph)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("decoupling", "scales", "learners"),
    [
        ("none", 1, 1),
        ("adversary", 1, 2),
        pytest.param("adversary", 2, 2, marks=pytest.mark.long),
        pytest.param("hinge", 2, 3, marks=pytest.mark.long),
    ],
)
def test_a_training_step_has_none(decoupling, scales, learners):
    core = core_of(build_tiny(scales=scales, learners=learners))
    trainer = Trainer(core, BinomialDeviance(), DECOUPLINGS[decoupling]())
    trainer.compile(keras.optimizers.Adam())
    images = tf.random.stateless_uniform((4, 40, 40, 3), (0, 1), maxval=255)

    @tf.function(autograph=False)
    def step(images, labels):
        return trainer.train_step((images, labels))

    graphs = optimized_graphs(step, images, tf.constant([0, 0, 1, 1]))
    steps = [graph for graph in graphs if len(graph.node) > 500]  # and not its parts
    assert steps
    assert not [found for graph in steps for found in wavering_sums(graph)]
