"""What the text of errors is read for; test_disk_full and test_service go further."""

import pytest
import tensorflow as tf

from deml_tf.cli.error_text import first_sentence, is_lost, sentence, why_not

NAMES = ["width", "fit"]


@pytest.mark.parametrize(
    "said, heard",
    [
        ("width=2 is odd: set width=1", "--width=2 is odd: set --width=1."),
        ("give (width=1).", "give (--width=1)."),
        ("--width=2 is odd.", "--width=2 is odd."),
        ("'width=2' in a.cfg, runs/width=3", "'width=2' in a.cfg, runs/width=3."),
        ("bandwidth=2", "bandwidth=2."),
    ],
)
def test_arguments_become_flags(said, heard):
    assert sentence(ValueError(said), NAMES) == heard


@pytest.mark.parametrize(
    "text, said",
    [
        ("No such layer: deml. Existing\nlayers are: []", "No such layer: deml"),
        ("Address already\n   in use: ", "Address already in use"),
    ],
)
def test_first_sentence(text, said):
    assert first_sentence(ValueError(text)) == said


def test_why_not_is_the_sentence_alone():
    message = "{{function_node f}} Bad. One of JPEG\n\t [[{{node DecodeImage}}]] [Op:X]"
    error = tf.errors.InvalidArgumentError(None, None, message)
    assert why_not(error) == "Bad"
    error = tf.errors.NotFoundError(None, None, "a\n/x.png; No such file. Gone. [Op:R]")
    assert why_not(error) == "/x.png; No such file: Gone"


def test_lost_workers_are_told_from_other_errors():
    lost = tf.errors.UnavailableError(None, None, "Collective ops is aborted")
    assert is_lost(lost)
    assert not is_lost(tf.errors.UnavailableError(None, None, "no such file"))
    assert not is_lost(ValueError("Collective ops is aborted"))
