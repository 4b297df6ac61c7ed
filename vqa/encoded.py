"""An image as a model keeps it: read once, asked many times, saved to a file."""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from encoders.tiling import Grid
from encoders.vision.ocr.transcription import Word, word_of
from encoders.vision.sheet import ImageTokens
from vqa.cache import StateCache
from vqa.model import Encoding, LatteVQA


@dataclass(frozen=True)
class Source:
    """Which image was read: its size in pixels, the share of its sides at which it was read, and as
    how many tokens. `patch_scale`: the share of these sides at which its patches were read, where
    the network has `max_patches`; print is read at `scale` all the same.
    `rotation`: degrees by which the page was turned to the left for its print to be read."""

    width: int
    height: int
    scale: float
    tokens: int
    patch_scale: float = 1.0
    rotation: float = 0.0


@dataclass(frozen=True)
class Encoded:
    """What a model keeps of one image, which image that was, and the weights' fingerprint.

    With the question in the decoder a state of one size, whatever the image's; else its tokens.
    `words`: its print, of a model that reads it as text.
    """

    memory: Encoding
    source: Source
    weights: str
    words: tuple[Word, ...] = ()

    @property
    def nbytes(self) -> int:
        """Bytes in memory."""
        if isinstance(self.memory, StateCache):
            return self.memory.nbytes()
        tokens, mask, _, places, pitch = self.memory
        return tokens.nbytes + mask.nbytes + places.nbytes + pitch.nbytes

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a safetensors file; a file of that name is replaced when all is written."""
        tensors, grids = _tensors(self.memory)
        more = {"grids": grids, "weights": self.weights, "words": self.words}
        words = json.dumps({**asdict(self.source), **more})
        part = Path(f"{os.fspath(path)}.{os.getpid()}.part")
        save_file(tensors, part, {"latte_vqa": words})
        part.replace(path)

    @staticmethod
    def load(path: str | os.PathLike[str], model: LatteVQA, weights: str) -> "Encoded":
        """What `save` wrote, for the model with these weights.

        Raises ValueError, in one sentence, for another kind of file or another model's.
        """
        if not os.path.isfile(path):
            raise ValueError(f"there is no file {os.fspath(path)}")
        try:
            with safe_open(path, "pt", device=str(model.device)) as file:
                words = json.loads((file.metadata() or {})["latte_vqa"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            grids, maker = words.pop("grids"), words.pop("weights")
            printed = tuple(word_of(row) for row in words.pop("words"))
            source = Source(**words)
        except (SafetensorError, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{os.fspath(path)} is no encoded image ({error})") from None
        if maker != weights:
            raise ValueError(
                f"{os.fspath(path)} was encoded by another model; encode the image again"
            )
        return Encoded(_memory(tensors, grids, model), source, weights, printed)


def _tensors(memory: Encoding) -> tuple[dict[str, Tensor], list[Any]]:
    if isinstance(memory, ImageTokens):
        named = memory._asdict()
        return named, named.pop("grids")
    named = {
        # A copy, for layers may share one tensor, and a file may not.
        f"{layer}.{name}": part.clone(memory_format=torch.contiguous_format)
        for layer, state in enumerate(memory.states)
        for name, part in zip(state._fields, state, strict=True)
    }
    return named, []


def _memory(tensors: dict[str, Tensor], grids: list[Any], model: LatteVQA) -> Encoding:
    if grids:
        shapes = [tuple(Grid(*grid) for grid in row) for row in grids]
        return ImageTokens(grids=shapes, **tensors)
    return StateCache(
        [
            kind(*(tensors[f"{layer}.{name}"] for name in kind._fields))
            for layer, kind in enumerate(model.decoder.state_types)
        ]
    )
