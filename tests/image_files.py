"""Images of every kind in memory, and how the tests look at what is read of them."""

import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from vqa import images
from vqa.images import ImageError

RED, GREEN, BLUE, WHITE = [255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]


def encode(image: Image.Image, format: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format, **options)
    return stream.getvalue()


def noise(height: int, width: int, channels: int = 3) -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (height, width, channels), dtype=np.uint8)


def rows(tensor: torch.Tensor) -> list[list[list[int]]]:
    """[3, H, W] -> a pixel per (row, column), as lists."""
    assert tensor.dtype == torch.uint8 and tensor.is_contiguous()
    return tensor.permute(1, 2, 0).tolist()


def same(tensor: torch.Tensor, pixels: np.ndarray) -> bool:
    return np.array_equal(tensor.permute(1, 2, 0).numpy(), pixels)


def refusal(source: Any, **options: Any) -> str:
    with pytest.raises(ImageError) as caught:
        images.load(source, **options)
    return str(caught.value)


def png(width: int, height: int, data: bytes) -> bytes:
    """A PNG whose header promises any size, whatever its data holds."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    )


LOSSLESS: dict[str, dict[str, Any]] = {
    "PNG": {},
    "WEBP": {"lossless": True},
    "TIFF": {},
    "TIFF lzw": {"compression": "tiff_lzw"},
    "BMP": {},
    "PPM": {},
    "JPEG2000": {},
    "QOI": {},
}
