"""Small networks, images and questions for the tests of the model."""

from itertools import product
from typing import Any

import torch
from torch import Tensor, nn

from encoders import mixers
from encoders.tiling import Grid
from encoders.vision.sheet import ImageTokens
from vqa.cache import StateCache
from vqa.config import LatteVQAConfig, Network, Vision
from vqa.model import LatteVQA

BOS, EOS = 1, 2
ROPE = {"embed_dim": 16, "depth": 1, "num_heads": 1, "init_values": 1.0}
WAYS = list(product(mixers.available(), ("encoder", "decoder", "carried"), ("state", "sequence")))
"""Mixer, where the question is read (carried: in the decoder, and in each answer token), memory."""
SIZES = ((64, 64), (20, 100), (33, 7))

VIT = {"embed_dim": 32, "depth": 1, "num_heads": 2, "patch_size": 16, "init_values": 1.0}
TINY = Network(
    vision=Vision(vit_args=VIT, tile=64),
    dim=32,
    heads=2,
    latents=8,
    encoder_depth=1,
    decoder_depth=1,
    mlp_ratio=2.0,
)
"""Trained by no test for long."""


NETWORK = """
model:
  network:
    vision: {vit_args: {patch_size: 16, embed_dim: 32, depth: 1, num_heads: 2, init_values: 1.0}, tile: 64}
    dim: 32
    heads: 2
    latents: 8
    encoder_depth: 1
    decoder_depth: 1
  lr: 3.0e-3
  warmup_steps: 10
data: {dataset: jsonl, batch_size: 4, vocabulary: 300}
"""  # noqa: E501
"""What the command line needs to train a tiny network on a jsonl data set."""

TRAINER = """
trainer:
  accelerator: cpu
  max_epochs: 2
  default_root_dir: FOLDER
  enable_progress_bar: false
  enable_model_summary: false
  logger: false
  callbacks:
    - class_path: lightning.pytorch.callbacks.ModelCheckpoint
      init_args: {dirpath: FOLDER, save_top_k: 0, save_last: true, enable_version_counter: false}
"""
"""A quiet trainer of two epochs, its checkpoint in FOLDER."""


def make(
    mixer: str = "latte",
    question: Any = "encoder",
    memory: Any = "state",
    vocabulary: int = 12,
    seed: int = 0,
    mixer_args: dict[str, Any] | None = None,
    **words: Any,
) -> LatteVQA:
    torch.manual_seed(seed)
    if question == "carried":
        question, words = "decoder", words | {"carry": True}
    network = Network(
        vision=Vision(vit_args=ROPE, tile=64),
        dim=16,
        heads=2,
        latents=8,
        encoder_depth=2,
        decoder_depth=2,
        mlp_ratio=2.0,
        mixer=mixer,
        mixer_args=mixer_args or {},
        question=question,
        memory=memory,
        **words,
    )
    model = LatteVQA(LatteVQAConfig(network, vocab_size=vocabulary)).eval()
    for weight in model.vision.parameters():  # timm starts next to nothing
        if weight.dim() > 1:
            nn.init.normal_(weight, std=weight[0].numel() ** -0.5)
    nn.init.normal_(model.kind)
    nn.init.normal_(model.decoder.norm.weight, std=2.0)  # else each word would just repeat itself
    return model


def ints(*shape: int, high: int = 12) -> Tensor:
    generator = torch.Generator().manual_seed(sum(shape))
    return torch.randint(3, high, shape, generator=generator)


def asked(lengths: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Questions of these lengths, padded: tokens and mask `[B, max]`."""
    question = ints(len(lengths), max(lengths))
    mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    return question.masked_fill(~mask, 0), mask


def noise(height: int, width: int) -> Tensor:
    generator = torch.Generator().manual_seed(height)
    return torch.randint(256, (3, height, width), dtype=torch.uint8, generator=generator)


IMAGES = [noise(*size) for size in SIZES]
QUESTION, MASK = asked((4, 1, 6))


def read(model: LatteVQA) -> StateCache:
    with torch.no_grad():
        return model.read(IMAGES, QUESTION, MASK)


def image_of(grids: tuple[Grid, ...], height: int, width: int, patch: int) -> ImageTokens:
    """An image of `height x width` pixels as tokens of which only places and pitch are asked."""
    at = [torch.arange(grid.size) for grid in grids]
    parts = [
        torch.stack([number // grid.columns, number % grid.columns], 1).float()
        for number, grid in zip(at, grids, strict=True)
    ]
    places = torch.cat(parts).unsqueeze(0)
    mask = torch.ones(1, places.shape[1], dtype=torch.bool)
    pitch = torch.tensor([[patch / height, patch / width]])
    return ImageTokens(torch.zeros(1, places.shape[1], 4), mask, [grids], places, pitch)
