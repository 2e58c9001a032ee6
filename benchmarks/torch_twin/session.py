"""What the worker times: one model, ready to train or to infer."""

import gc
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from benchmarks.torch_twin.embedder import BACKBONES, MODELS, Embedder, embedding
from benchmarks.torch_twin.training import Training


@dataclass(frozen=True)
class Setting:
    """What is requested.

    Attributes:
        model: A key of `MODELS`.
        backbone: A key of `embedder.BACKBONES`.
        input_size: Side of the images.
        batch: Images of a step, two per class.
        precision: "float32" or "bfloat16".
        mode: "eager" or "compiled".
        what: "train" or "infer".
    """

    model: str
    backbone: str
    input_size: int
    batch: int
    precision: str = "float32"
    mode: str = "eager"
    what: str = "train"

    def __post_init__(self):
        """Refuses unknown values.

        Raises:
            ValueError: A value is not one of its choices.
        """
        for name, choices in (
            ("model", tuple(MODELS)),
            ("backbone", tuple(BACKBONES)),
            ("precision", ("float32", "bfloat16")),
            ("mode", ("eager", "compiled")),
            ("what", ("train", "infer")),
        ):
            if getattr(self, name) not in choices:
                raise ValueError(f"{name} is none of {', '.join(choices)}.")


class Session:
    """A model that was built for a setting.

    Args:
        setting: What is requested.

    Attributes:
        parameters: Number of the embedder's parameters.
        run: Runs one step or one forward pass.
    """

    def __init__(self, setting: Setting):
        torch.manual_seed(0)
        embedder = Embedder(
            *MODELS[setting.model],
            setting.backbone,
            bfloat16=setting.precision == "bfloat16",
        )
        self.parameters = sum(p.numel() for p in embedder.parameters())
        embedder.to(memory_format=torch.channels_last)
        compiled = setting.mode == "compiled"
        images, labels = noise(setting.batch, setting.input_size)
        if setting.what == "train":
            training = Training(embedder, _compiled(embedder) if compiled else None)
            self.run: Callable[[], object] = lambda: training.step(images, labels)
        else:
            embedder.eval().requires_grad_(False).fold()
            scales = _compiled(embedder, freezing=True) if compiled else None
            self.run = lambda: infer(embedder, images, scales)


def infer(
    embedder: Embedder,
    images: torch.Tensor,
    scales: Sequence[Callable] | None = None,
) -> np.ndarray:
    """Embeds images.

    Args:
        embedder: An embedder in evaluation mode.
        images: (b, 3, s, s).
        scales: The scales to call, if they were compiled.

    Returns:
        (b, i * j * d), of length one.
    """
    with torch.inference_mode():
        return embedding(embedder(images, scales).parts).numpy()


def noise(batch: int, side: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns noise (b, 3, side, side) in channels_last, and labels, two per class."""
    numbers = np.random.default_rng(0)
    images = numbers.uniform(0.0, 255.0, (batch, side, side, 3)).astype(np.float32)
    labels = np.repeat(np.arange(batch // 2), 2)
    return torch.from_numpy(images).permute(0, 3, 1, 2), torch.from_numpy(labels)


def release() -> None:
    """Drops compiled code and unreferenced objects."""
    torch.compiler.reset()
    gc.collect()


def _compiled(embedder: Embedder, freezing: bool = False) -> list[Callable]:
    """Compiles each scale as a whole; what runs on the host lies between them."""
    return [
        torch.compile(
            scale, fullgraph=True, dynamic=False, options={"freezing": freezing}
        )
        for scale in embedder.scales
    ]
