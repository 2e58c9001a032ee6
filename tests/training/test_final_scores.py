"""The end of a training, without networks."""

from unittest import mock

import pytest

from deml_tf.config import (
    Configs,
    DataConfig,
    LossConfig,
    ModelConfig,
    ScoreConfig,
    TrainConfig,
)
from deml_tf.data.example import Example
from deml_tf.data.splits import Split
from deml_tf.training import final_scores


class Scored(Exception):
    """Both were scored."""


@pytest.mark.parametrize(
    ("asked", "ranks"),
    [((1, 7), (1, 7)), ((), (1, 2, 4, 8))],  # by default those of the data set
)
def test_embedder_and_frozen_start_are_scored_at_the_ranks_asked_for(
    asked, ranks, monkeypatch
):
    for name in ("save_atomically", "explainer", "embedding_of", "describe"):
        monkeypatch.setattr(final_scores, name, mock.Mock())
    monkeypatch.setattr(final_scores, "_embed_unseen", lambda *given: (None, None))
    score = mock.Mock()
    score_frozen = mock.Mock(side_effect=Scored)
    monkeypatch.setattr(final_scores, "score", score)
    monkeypatch.setattr(final_scores, "score_frozen", score_frozen)
    data, train = DataConfig(dataset="folder"), TrainConfig(score_frozen=True)
    scoring = ScoreConfig(ranks=asked)
    configs = Configs(data, ModelConfig(), LossConfig(), train, scoring)
    split = Split((), (), (Example("a.png", "a"),))
    with pytest.raises(Scored):
        final_scores.finish(mock.Mock(), mock.Mock(), split, configs)
    assert score.call_args.kwargs["ranks"] == ranks
    score_frozen.assert_called_once_with(configs, split, ranks)
