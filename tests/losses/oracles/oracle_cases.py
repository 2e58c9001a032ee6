"""What is compared with other projects: our loss, its arguments, and whose it is.

Plain Python, for it is read in environments without this package. Both pytorch-metric-
learning and TensorFlow Addons are given the same batches; a case that holds only where
all classes are of one size says so.
"""

BALANCED = "balanced"  # batches whose classes are of one size
HALVES = "halves"  # anchors against their positives, as references

# Name of the case: name of our loss, its arguments, batches.
ADDONS = {
    "triplet, semi-hard": ("triplet", {}, None),
    "triplet, semi-hard, squared": ("triplet", {"squared": True}, None),
    "triplet, hard": ("triplet", {"sampling": "hard", "margin": 0.5}, None),
    "triplet, hard, soft": ("triplet", {"sampling": "hard", "soft": True}, None),
    "contrastive, all pairs": ("contrastive", {"average": "pairs"}, None),
    "lifted structure": ("lifted_structure", {}, None),
    "n-pairs": ("n_pairs", {"norm_weight": 0.0}, HALVES),
}
TORCH = {
    "triplet, all": ("triplet", {"sampling": "all", "margin": 0.3}, None),
    "triplet, all, soft": ("triplet", {"sampling": "all", "soft": True}, None),
    "contrastive": ("contrastive", {"squared": False, "average": "active"}, None),
    "lifted structure, unit": ("lifted_structure", {"normalise": True}, None),
    "angular": ("angular", {}, None),
    "margin": ("margin", {"sampling": "all"}, BALANCED),
    "margin, per class": ("margin", {"sampling": "all", "per_class": True}, BALANCED),
    "snr": ("snr", {"average": "active", "mean_weight": 0.0}, None),
    "snr, not normalised": (
        "snr",
        {"average": "active", "normalise": False, "mean_weight": 0.1},
        None,
    ),
    "multi-similarity": ("multi_similarity", {"mining": False}, None),
    "circle": ("circle", {}, None),
    "supervised contrastive": ("supervised_contrastive", {}, None),
    "proxy anchor": ("proxy_anchor", {}, None),
    "proxy NCA++": ("proxy_nca_pp", {}, None),
    "normalised softmax": ("normalised_softmax", {}, None),
    "ArcFace": ("arcface", {}, None),
    "CosFace": ("cosface", {}, None),
    "SoftTriple": ("soft_triple", {"tau": 0.0}, None),
}
CLASSES, DIMENSIONS, CENTRES = 6, 8, 10
# Images of each class in a batch: of few sizes, for Addons compiles for each.
SIZES = ((4, 4, 4, 4), (2, 2, 2, 2, 2, 2), (6, 6), (2, 3, 4, 5), (2, 2, 7, 5))


def weight_of(loss, arguments):
    """The array of a batch that the loss's own weights are taken from, or None."""
    if loss == "margin":
        return "boundaries" if arguments.get("per_class") else "boundary"
    if loss == "soft_triple":
        return "centres"
    with_proxies = ("proxy", "normalised_softmax", "arcface", "cosface")
    return "proxies" if loss.startswith(with_proxies) else None


def takes(kind, sizes):
    """Whether a case is tried on a batch whose classes have these sizes."""
    return kind is None or len(set(sizes)) == 1
