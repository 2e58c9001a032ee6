"""Whatever is drawn in tests begins from one seed."""

import keras
import pytest


def drawn():
    return float(keras.initializers.RandomUniform()(()))


@pytest.fixture(scope="module")
def late():
    return drawn()


@pytest.fixture(scope="module")
def later(late):
    return drawn()


def test_one_test_draws():
    assert drawn() != drawn()


def test_fixtures_that_a_later_test_is_the_first_to_ask_for(late, later):
    assert late == later == drawn()
