"""Weights of a backbone: missing, spoilt, of another network, or a program."""

import collections
import pickle
import zipfile

from bad_case import Case
from world import as_json, saved_weights, write

from deml_tf.backbones.weights.torch_efficientnet_lite import imagenet_file


class Evil:
    """A pickle that runs a program when it is read carelessly."""

    def __reduce__(self):
        import os

        return os.system, ("touch pwned",)


def evil(folder):
    write("w.pth", pickle.dumps({"layer": Evil()}))(folder)


def evil_zip(folder):
    with zipfile.ZipFile(folder / "w.pth", "w") as archive:
        archive.writestr("net/data.pkl", pickle.dumps({"layer": Evil()}))
        archive.writestr("net/version", "3\n")


def imagenet(cut=None):
    """Makes the released weights of EfficientNet-Lite0, whole or cut off."""

    def make(folder):
        (folder / "w.pth").write_bytes(imagenet_file().read_bytes()[:cut])

    return make


def other_network(folder):
    """A state dict without a tensor: nothing that the network wants."""
    with zipfile.ZipFile(folder / "w.pth", "w") as archive:
        archive.writestr(
            "net/data.pkl", pickle.dumps(collections.OrderedDict(), protocol=2)
        )
        archive.writestr("net/version", "3\n")


def weights(**sizes):
    def make(folder):
        write("w.weights.h5", saved_weights(**sizes))(folder)

    return make


def tuples_as_a_key(folder):
    """A state dict of 560 bytes, to hash whose key takes 2**100 steps."""
    body = b"".join(b"q%ch%ch%c\x86" % (n, n, n) for n in range(100))
    with zipfile.ZipFile(folder / "w.pth", "w") as archive:
        archive.writestr("net/data.pkl", b"\x80\x02})" + body + b"q\xf0}h\xf0Ns.")


def vit_of(blocks):
    """Makes the folder of a vision transformer, as keras-hub writes it."""
    numbers = {"num_layers": blocks, "hidden_dim": 192, "mlp_dim": 768}
    numbers |= {"image_shape": [224, 224, 3], "patch_size": [16, 16]}
    config = {"registered_name": "keras_hub>ViTBackbone", "config": numbers}
    return write("preset/config.json", as_json(config))


PTH = "train TINY --weights=w.pth"
H5 = "train TINY --weights=w.weights.h5"

CASES = (
    Case(
        "an unknown backbone",
        "train TINY --backbone=vgg16000",
        2,
        "--backbone='vgg16000' is unknown: choose one of "
        "efficientnet_lite0, googlenet, resnet50, inception_v3, "
        "mobilenet_v2, efficientnet_b0, convnext_tiny, vit:tiny, "
        "vit:small, vit:base, vit:PRESET or another of keras.applications"
        " (densenet121, vgg16, resnet50_v2 ...).",
    ),
    Case(
        "no layer to cut at",
        "train TINY --cut_layer=stage9",
        2,
        "--cut_layer='stage9' is unknown for efficientnet_lite0: choose "
        "one of stage5, stage4.",
    ),
    Case(
        "released weights, another width",
        "train TINY --weights=imagenet",
        2,
        "--weights='imagenet' exist for width 1 alone, not for "
        "--width=0.25: set --width=1 or --weights='none'.",
    ),
    Case(
        "weights that are not there",
        PTH,
        2,
        "--weights='w.pth' is no file: give the path of one.",
    ),
    Case(
        "a folder as weights",
        PTH,
        2,
        "--weights='w.pth' is no file: give the path of one.",
        lambda folder: (folder / "w.pth").mkdir(),
    ),
    Case(
        "weights of an unknown kind",
        "train TINY --weights=w.txt",
        2,
        "--weights='w.txt' is neither 'imagenet' nor 'none' nor a file "
        "ending in .pth or .weights.h5: give one of these.",
        write("w.txt", "weights"),
    ),
    Case(
        "weights of a misspelt name",
        "train TINY --weights=imagnet",
        2,
        "--weights='imagnet' is neither 'imagenet' nor 'none' nor a file "
        "ending in .pth or .weights.h5: give one of these.",
    ),
    Case(
        "an empty weights file",
        PTH,
        1,
        "The weights w.pth are refused, for the file is empty: give a "
        "whole file that torch.save(model.state_dict(), path) wrote.",
        write("w.pth", ""),
    ),
    Case(
        "a text as weights",
        PTH,
        1,
        "The weights w.pth are refused, for the file is cut short or is "
        "no torch file (ValueError): give a whole file that "
        "torch.save(model.state_dict(), path) wrote.",
        write("w.pth", "These are weights.\n"),
    ),
    Case(
        "weights cut short",
        PTH,
        1,
        "The weights w.pth are refused, for the file is cut short: give a"
        " whole file that torch.save(model.state_dict(), path) wrote.",
        imagenet(cut=2_000_000),
    ),
    Case(
        "a program as weights",
        PTH,
        1,
        "The weights w.pth are refused, for the file asks for "
        "posix.system, which no tensor needs: give a whole file that "
        "torch.save(model.state_dict(), path) wrote.",
        evil,
    ),
    Case(
        "a program in an archive as weights",
        PTH,
        1,
        "The weights w.pth are refused, for the file asks for "
        "posix.system, which no tensor needs: give a whole file that "
        "torch.save(model.state_dict(), path) wrote.",
        evil_zip,
    ),
    Case(
        "weights that take for ever to read",
        PTH,
        1,
        "The weights w.pth are refused, for the file has a key that is no "
        "text: give a whole file that torch.save(model.state_dict(), path)"
        " wrote.",
        tuples_as_a_key,
    ),
    Case(
        "a preset of ten million blocks",
        "train TINY --width=1 --output_stride=32 --backbone=vit:preset "
        "--weights=imagenet",
        1,
        "--backbone='vit:preset' has 10000000 blocks and about 6e+12 "
        "weights: give one of at most 128 blocks and 6e+09 weights.",
        vit_of(blocks=10**7),
    ),
    Case(
        "Keras weights that are no numbers",
        H5,
        1,
        "The weights w.weights.h5 of efficientnet_lite0 are spoilt, for "
        "stem holds NaN or infinity: give an undamaged file.",
        weights(first=float("nan")),
    ),
    Case(
        "weights of another network",
        PTH,
        1,
        "The weights w.pth are not EfficientNet-Lite0's: the file lacks "
        "_blocks.0._bn1.bias and 244 more; give the state dict of that "
        "network.",
        other_network,
    ),
    Case(
        "weights of another width",
        PTH,
        1,
        "The weights w.pth do not fit: _conv_stem.weight has the shape "
        "(32, 3, 3, 3) where the network's has (3, 3, 3, 8); set the "
        "width they were trained with.",
        imagenet(),
    ),
    Case(
        "weights of another cut",
        H5,
        1,
        "The weights w.weights.h5 do not fit efficientnet_lite0 as it is "
        "set up: give a file saved with the same backbone, width and "
        "cut_layer.",
        weights(cut_layer="stage4"),
    ),
    Case(
        "Keras weights of another width",
        H5,
        1,
        "The weights w.weights.h5 do not fit efficientnet_lite0 as it is "
        "set up: give a file saved with the same backbone, width and "
        "cut_layer.",
        weights(width=0.5),
    ),
    Case(
        "Keras weights cut short",
        H5,
        1,
        "The weights w.weights.h5 are cut short or no HDF5 file: give the"
        " whole file that save_weights wrote.",
        lambda folder: write("w.weights.h5", saved_weights()[:5000])(folder),
    ),
    Case(
        "a text as Keras weights",
        H5,
        1,
        "The weights w.weights.h5 are cut short or no HDF5 file: give the"
        " whole file that save_weights wrote.",
        write("w.weights.h5", "weights"),
    ),
)
