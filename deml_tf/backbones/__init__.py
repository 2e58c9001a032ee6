"""Feature extractors, each cut in two at the attention point."""

from deml_tf.backbones.backbone import Backbone, build_backbone

__all__ = ["Backbone", "build_backbone"]
