"""The end of a training, without networks."""

from unittest import mock

import pytest
from small_backbone import build_tiny

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
from deml_tf.models.cost import gmacs
from deml_tf.models.embedder import core_of, explainer
from deml_tf.models.parts import part_core
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


def test_the_last_scale_need_not_look_for_the_next():
    """The cost is that of what an export runs."""
    embedder = build_tiny(scales=2, learners=2)
    found = final_scores.describe(explainer(embedder), ModelConfig())["gmacs"]
    core = core_of(embedder)
    exported = part_core(core, (0, 1), (0, 1))
    assert found == pytest.approx(gmacs(exported, 40, 40, 3), rel=1e-9)
    assert found < gmacs(core, 40, 40, 3)
