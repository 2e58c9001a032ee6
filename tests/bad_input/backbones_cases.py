"""Backbones that there are not, or that cannot be as asked."""

from bad_case import Case
from world import write

PLAIN = "train TINY --width=1 --output_stride=32 --input_size=64 --resize_size=64"
CAFFE = f"{PLAIN} --backbone=googlenet --weights=w.caffemodel"
VIT = f"{PLAIN} --backbone=vit:tiny"

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
        "another width of a network that has one",
        "train TINY --backbone=resnet50",
        2,
        "--width=0.25 is not for resnet50: leave it at 1.0, or choose "
        "efficientnet_lite0.",
    ),
    Case(
        "another stride of a network that has one",
        "train TINY --width=1 --backbone=googlenet",
        2,
        "--output_stride=16 is not for googlenet: leave it at 32, or "
        "choose efficientnet_lite0.",
    ),
    Case(
        "images too small for the network",
        "train TINY --width=1 --output_stride=32 --backbone=googlenet",
        2,
        "--input_size=32 is too small for googlenet: give at least 63 pixels.",
    ),
    Case(
        "a layer of a keras.applications network that there is not",
        f"{PLAIN} --backbone=mobilenet_v2 --cut_layer=block_99",
        2,
        "--cut_layer='block_99' is no layer of mobilenet_v2: choose one "
        "with a map of 32 x 32: Conv1_relu, expanded_conv_depthwise_relu,"
        " expanded_conv_project_BN, block_1_expand_relu; 16 x 16: "
        "block_1_depthwise_relu, block_1_project_BN, block_2_add, "
        "block_3_expand_relu; 8 x 8: block_3_project_BN, block_4_add, "
        "block_5_add, block_6_expand_relu; 4 x 4: block_10_project_BN, "
        "block_11_add, block_12_add, block_13_expand_relu; 2 x 2: "
        "block_16_expand_relu, block_16_depthwise_relu, "
        "block_16_project_BN, Conv_1 (and 51 more).",
    ),
    Case(
        "a layer inside a residual block",
        f"{PLAIN} --backbone=mobilenet_v2 --cut_layer=block_11_expand",
        2,
        "--cut_layer='block_11_expand' is no clean cut of mobilenet_v2 (a"
        " path goes around it, or one side has nothing to train): choose "
        "one with a map of 32 x 32: Conv1_relu, "
        "expanded_conv_depthwise_relu, expanded_conv_project_BN, "
        "block_1_expand_relu; 16 x 16: block_1_depthwise_relu, "
        "block_1_project_BN, block_2_add, block_3_expand_relu; 8 x 8: "
        "block_3_project_BN, block_4_add, block_5_add, "
        "block_6_expand_relu; 4 x 4: block_10_project_BN, block_11_add, "
        "block_12_add, block_13_expand_relu; 2 x 2: block_16_expand_relu,"
        " block_16_depthwise_relu, block_16_project_BN, Conv_1 (and 51 "
        "more).",
    ),
    Case(
        "images that are not whole patches",
        f"{VIT} --input_size=72 --resize_size=72",
        2,
        "--input_size=72 is no multiple of the 16 pixels of a patch of "
        "vit:tiny: give 64 or 80.",
    ),
    Case(
        "released weights of a network without",
        f"{VIT} --weights=imagenet",
        2,
        "--backbone='vit:tiny' has random weights alone: set "
        "--weights='none', or choose a preset such as "
        "vit:vit_base_patch16_224_imagenet.",
    ),
    Case(
        "an unknown preset",
        f"{PLAIN} --backbone=vit:gigantic",
        2,
        "--backbone='vit:gigantic' is neither a preset nor a folder: "
        "choose one of vit:tiny, vit:small, vit:base, "
        "vit:vit_base_patch16_224_imagenet, "
        "vit:deit_base_distilled_patch16_384_imagenet, vit:dinov2_small, "
        "vit:dinov3_vit_small_lvd1689m, vit:siglip_base_patch16_224 or another of "
        "keras-hub's presets for the same networks, or give vit:FOLDER with a folder "
        "that its save_to_preset wrote.",
    ),
    Case(
        "released weights of GoogLeNet",
        f"{PLAIN} --backbone=googlenet --weights=imagenet",
        2,
        "--weights='imagenet' is not packaged for googlenet: give "
        "--weights=bvlc_googlenet.caffemodel (from the BVLC model zoo) or"
        " --weights=none.",
    ),
    Case(
        "an empty caffemodel",
        CAFFE,
        1,
        "The weights w.caffemodel are refused, for the file is empty: "
        "give a whole file that Caffe saved, such as "
        "bvlc_googlenet.caffemodel of its model zoo.",
        write("w.caffemodel", ""),
    ),
    Case(
        "a text as caffemodel",
        CAFFE,
        1,
        "The weights w.caffemodel are refused, for the file is cut short "
        "or is no caffemodel: give a whole file that Caffe saved, such as"
        " bvlc_googlenet.caffemodel of its model zoo.",
        write("w.caffemodel", "some weights"),
    ),
    Case(
        "a caffemodel of another network",
        CAFFE,
        1,
        "The weights w.caffemodel are not GoogLeNet's: the file lacks "
        "'conv1/7x7_s2' and 56 more; give a whole "
        "bvlc_googlenet.caffemodel, or one trained from it.",
        # NetParameter{layer: {name: "ip1", blobs: {shape: {dim: 1}, data: 0}}}
        write(
            "w.caffemodel",
            b"\xa2\x06\x12\x0a\x03ip1\x3a\x0b\x3a\x03\x0a\x01\x01\x2a\x04" + bytes(4),
        ),
    ),
    Case(
        "torch weights for a network of Caffe",
        f"{PLAIN} --backbone=googlenet --weights=w.pth",
        2,
        "--weights='w.pth' is neither 'imagenet' nor 'none' nor a file "
        "ending in .caffemodel or .weights.h5: give one of these.",
        write("w.pth", ""),
    ),
)
