"""How settings reach the optimizer."""

from typing import Any

import pytest
from small_backbone import build_tiny

from deml_tf.config import LossConfig, TrainConfig
from deml_tf.training.build import build_optimizer, build_trainer


def test_heads_and_biases_learn_faster():
    embedder = build_tiny(
        scales=2,
        learners=2,
        batch_norm="train",
        region_rule="separation",
        separation_learned=True,
        separation_least=0.0,
    )
    loss = LossConfig(loss="proxy_nca_pp")
    train = TrainConfig(head_multiplier=10.0, bias_multiplier=2.0)
    optimizer: Any = build_trainer(embedder, loss, train, num_classes=3).optimizer
    paths = [v.path for v in optimizer._trainable_variables]
    rates = dict(zip(paths, optimizer._rates, strict=True))
    assert {path: rate for path, rate in rates.items() if "scale1" in path} == {
        "scale1_first/convolution/kernel": 1.0,
        "scale1_first/norm/gamma": 1.0,
        "scale1_first/norm/beta": 2.0,
        "scale1_second/convolution/kernel": 1.0,
        "scale1_second/norm/gamma": 1.0,
        "scale1_second/norm/beta": 2.0,
        "scale1_channel_attention/hidden_kernel": 10.0,
        "scale1_channel_attention/hidden_bias": 20.0,
        "scale1_channel_attention/gate_kernel": 10.0,
        "scale1_channel_attention/gate_bias": 20.0,
        "scale1_third/convolution/kernel": 1.0,
        "scale1_third/norm/gamma": 1.0,
        "scale1_third/norm/beta": 2.0,
        "scale1_fourth/convolution/kernel": 1.0,
        "scale1_fourth/norm/gamma": 1.0,
        "scale1_fourth/norm/beta": 2.0,
        "scale1_object_attention/last_channels": 10.0,
        "scale1_object_attention/middle_channels": 10.0,
        "scale1_projection/kernel_0": 10.0,
        "scale1_loss/class_weights": 100.0,  # the loss's own
    }


def test_settings_of_the_optimizer():
    train = TrainConfig(
        optimizer="adamw",
        learning_rate=0.3,
        schedule="step",
        decay_steps=(4,),
        decay_rate=0.1,
        weight_decay=0.5,
        l2=0.2,
        clip_norm=7.0,
    )
    optimizer: Any = build_optimizer(train, [])
    assert optimizer.weight_decay == 0.5 and optimizer.l2 == 0.2
    assert optimizer.global_clipnorm == 7.0 and optimizer.epsilon == 1e-8
    assert float(optimizer.learning_rate) == pytest.approx(0.3)
    optimizer.iterations.assign(5)
    assert float(optimizer.learning_rate) == pytest.approx(0.03)
    optimizer = build_optimizer(TrainConfig(), [])
    assert optimizer.weight_decay is None and optimizer.global_clipnorm is None
