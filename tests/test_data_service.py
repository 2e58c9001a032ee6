"""Where `deml_tf.data_service` says that its workers are."""

import os
from unittest import mock

import pytest
import tensorflow as tf

from deml_tf import data_service


@pytest.fixture
def config(monkeypatch):
    """What a worker would be started with."""
    service, config = tf.data.experimental.service, mock.Mock()
    dispatcher = mock.Mock(target="grpc://localhost:5050")
    monkeypatch.setattr(service, "DispatchServer", lambda _: dispatcher)
    monkeypatch.setattr(service, "WorkerServer", mock.Mock())
    monkeypatch.setattr(service, "WorkerConfig", config)
    return config


def test_trainers_find_the_first_worker_by_the_name_of_its_machine(config):
    data_service.start("here", 5050)
    config.assert_called_once_with(
        dispatcher_address="localhost:5050", worker_address="here:%port%", port=0
    )


def test_trainers_find_another_worker_by_the_name_of_its_machine(config):
    data_service.join("there:5050", "here", 7)
    config.assert_called_once_with(
        dispatcher_address="there:5050", worker_address="here:%port%", port=7
    )


def test_the_first_worker_finds_its_service_past_a_proxy(config, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("no_grpc_proxy", "a.example")
    data_service.start("here", 5050)
    assert os.environ["no_grpc_proxy"] == "a.example,localhost,127.0.0.1,here"
