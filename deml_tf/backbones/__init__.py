"""Feature extractors, each cut in two where channel attention goes.

A new backbone is one file with an `Architecture` and one line in `BACKBONES`.
"""

from deml_tf.backbones.architecture import Architecture
from deml_tf.backbones.backbone import Backbone
from deml_tf.backbones.build import BACKBONES, build_backbone, check_backbone

__all__ = ["BACKBONES", "Architecture", "Backbone", "build_backbone", "check_backbone"]
