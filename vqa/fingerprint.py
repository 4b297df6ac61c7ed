"""What tells one image, and one set of weights, from another."""

import hashlib
import os
from functools import cache
from pathlib import Path

import torch
from torch import nn

from vqa.images import ImageSource, Picture

_BAND = 2**22  # pixels hashed at a time


def of_image(source: ImageSource, picture: Picture) -> str:
    """SHA-256 of a file's bytes, or of the pixels of what is in memory already; hexadecimal."""
    if isinstance(source, str | os.PathLike):
        with open(source, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    if isinstance(source, bytes | bytearray | memoryview):
        return hashlib.sha256(source).hexdigest()
    digest = hashlib.sha256(repr(picture.shape).encode())
    rows = max(1, _BAND // picture.shape[2])
    for top in range(0, picture.shape[1], rows):
        digest.update(picture[:, top : top + rows, :].numpy().tobytes())
    return digest.hexdigest()


def of_weights(model: nn.Module) -> str:
    """SHA-256 of all parameters and buffers with their names and dtypes; hexadecimal."""
    digest = hashlib.sha256()
    for name, weight in model.state_dict().items():
        digest.update(f"{name} {weight.dtype} {list(weight.shape)}".encode())
        digest.update(
            weight.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()
        )
    return digest.hexdigest()


@cache
def of_code() -> str:
    """SHA-256 of the source files of encoders and vqa; hexadecimal."""
    digest = hashlib.sha256()
    root = Path(__file__).parents[1]
    for package in ("encoders", "vqa"):
        for path in sorted((root / package).rglob("*.py")):
            digest.update(f"{path.relative_to(root).as_posix()}\n".encode() + path.read_bytes())
    return digest.hexdigest()
