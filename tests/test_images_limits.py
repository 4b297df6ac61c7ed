"""The limit on pixels is exact, asks the header only, and leaves Pillow's own alone."""

import io
import pathlib
import threading
import time
import warnings
import zlib

import pytest
import torch
from image_files import LOSSLESS, encode, noise, png, refusal
from PIL import Image

from vqa import images


def test_header_bomb_is_refused_at_once(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "bomb.png"
    path.write_bytes(png(60_000, 60_000, zlib.compress(bytes(1000))))
    start = time.perf_counter()
    message = refusal(path)
    assert time.perf_counter() - start < 1.0
    assert message == (
        f"{path} is 60000 x 60000 = 3,600,000,000 pixels, over the limit of 268,435,456 pixels; "
        "crop it or raise max_pixels"
    )
    assert images.size(path) == (60_000, 60_000)  # the header alone is harmless


def test_limit_is_exact() -> None:
    pixels = noise(10, 12)
    image = Image.fromarray(pixels)
    for source in (pixels, image, encode(image, "PNG"), encode(image, "JPEG")):
        assert images.load(source, max_pixels=120).shape == (3, 10, 12)
        assert "12 x 10 = 120 pixels, over the limit of 119 pixels" in refusal(
            source, max_pixels=119
        )


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "TIFF lzw", "WEBP", "GIF", "BMP", "AVIF"])
@pytest.mark.parametrize("guard", [100, 250, 400])  # 400 pixels: its error, its warning, neither
def test_pillows_guard_does_not_interfere(
    kind: str, guard: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = encode(Image.fromarray(noise(20, 20)), kind.split()[0], **LOSSLESS.get(kind, {}))
    image = Image.open(io.BytesIO(data))
    whole = images.load(data)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", guard)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert torch.equal(images.load(data), whole)
        assert torch.equal(images.load(image), whole)
        assert images.size(data) == (20, 20)
        refusal(data, max_pixels=399)
        refusal(data[: len(data) // 2])
    assert guard == Image.MAX_IMAGE_PIXELS


def test_threads_agree() -> None:
    sources = [encode(Image.fromarray(noise(60, 40 + i)), "PNG") for i in range(8)]
    expected = [images.load(source) for source in sources]
    guard, wrong = Image.MAX_IMAGE_PIXELS, []

    def work(source: bytes, whole: torch.Tensor) -> None:
        for _ in range(5):
            if not torch.equal(images.load(source), whole) or guard != Image.MAX_IMAGE_PIXELS:
                wrong.append(source)

    pairs = zip(sources, expected, strict=True)
    threads = [threading.Thread(target=work, args=pair) for pair in pairs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
