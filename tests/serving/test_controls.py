"""What the attentions are compared with leaves as they do, and so do other rules."""

import pytest
from test_parity_table import Leaving

from deml_tf.serving import differences

CONTROLS = {
    "fixed": {"region_rule": "fixed", "fixed_side": 0.5},
    "random": {"region_rule": "random"},
    "separation": {
        "region_rule": "separation",
        "separation_learned": True,
        "separation_least": 0.0,
    },
    "projections alone": {"channel_attention": False, "shared_projection": False},
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CONTROLS)
def test_every_format_computes_what_was_trained(name, tiny, trained, tmp_path):
    counts = {"scales": 2, "learners": 2}
    embedder = tiny(**counts, **CONTROLS[name])
    leaving = Leaving(embedder, trained, tmp_path, counts, "float32")
    ways = leaving.as_saved_model()
    leaving.kept = ((0, 1), (1,))  # fewer learners, where that is all the same
    leaving.trained = trained(embedder, *leaving.kept)
    ways |= leaving.as_file("litert") | leaving.as_file("onnx")
    assert len(ways) == 5 and all(ways.values())
    for measured in ways.values():
        differences.require(measured)
