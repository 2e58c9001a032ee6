"""Compares the twin with a sample: `python -m benchmarks.torch_twin.check FILE.npz`.

`python -m benchmarks.twin_sample` writes the sample, in the project's own environment.
"""

import sys

import numpy as np
import torch

from benchmarks.torch_twin.embedder import MODELS, Embedder
from benchmarks.torch_twin.weights import load_keras

_WEIGHT = "weight:"


def main(path: str) -> None:
    """Prints the largest differences.

    Args:
        path: File of the sample.
    """
    with np.load(path) as file:
        sample = dict(file)
    model, backbone = str(sample["model"]), str(sample["backbone"])
    embedder = Embedder(*MODELS[model], backbone)
    weights = {
        name.removeprefix(_WEIGHT): array
        for name, array in sample.items()
        if name.startswith(_WEIGHT)
    }
    load_keras(embedder, weights)
    embedder.to(memory_format=torch.channels_last).eval()
    count = sum(parameter.numel() for parameter in embedder.parameters())
    images = _channels_first(sample["images"])
    views = [_channels_first(view) for view in sample["views"]]
    print(f"{model} on {backbone}, {len(images)} images of {images.shape[-1]}")
    print(f"parameters   {count}, expected {sample['parameters']}")
    # The difference between two images must far exceed the twin's.
    spread = np.abs(sample["parts"][0] - sample["parts"][1]).max(axis=(1, 2))
    print(f"{'of two images':20} parts by scale {_row(spread)}")
    runs = [("own zoom", ())] + [("given views", views)] * bool(views)
    for folded in (False, True):
        if folded:
            embedder.fold()
        for name, given in runs:
            with torch.inference_mode():
                outputs = embedder(images, views=given)
            parts = np.stack([part.transpose(0, 1).numpy() for part in outputs.parts])
            apart = np.abs(parts - sample["parts"].swapaxes(0, 1)).max(axis=(1, 2, 3))
            boxes = np.abs(outputs.boxes.numpy() - sample["boxes"]).max(axis=(0, 2))
            title = f"{name}, folded" if folded else name
            print(f"{title:20} parts by scale {_row(apart)}  boxes {_row(boxes)}")


def _channels_first(images: np.ndarray) -> torch.Tensor:
    """Turns (b, s, s, 3) into (b, 3, s, s) in channels_last."""
    return torch.from_numpy(images).permute(0, 3, 1, 2)


def _row(values: np.ndarray) -> str:
    return " ".join(f"{value:.1e}" for value in values)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("Give one sample: python -m benchmarks.torch_twin.check FILE.npz")
    main(sys.argv[1])
