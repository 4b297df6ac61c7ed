"""A picture gives what its tensor would give, whatever piece is asked for, and decodes once."""

import io
import os
import pathlib
import subprocess
import sys
import threading
from typing import Any

import numpy as np
import pytest
import torch
from image_files import encode, noise
from PIL import Image, PngImagePlugin

from vqa import images
from vqa.images import ImageError, picture, resample

SLICES: list[Any] = [
    (slice(None), slice(None), slice(None)),
    (slice(None), slice(3, 20), slice(7, 30)),
    (slice(0, 3), slice(40, 999), slice(0, 1)),
    (slice(None), slice(None, 5), slice(31, None)),
    (slice(None), slice(9, 9), slice(None)),
    (slice(None), slice(20, 3), slice(2, 4)),
    (slice(None), slice(999, 1000), slice(2, 4)),
    (slice(None), slice(np.int64(2), np.int64(4), 1)),
    slice(None),
]


@pytest.fixture(params=[1, 16, 1024], ids=lambda side: f"block{side}")
def block(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(picture, "BLOCK", request.param)


@pytest.mark.usefixtures("block")
@pytest.mark.parametrize("orientation", range(1, 9))
def test_pieces_are_those_of_the_tensor(orientation: int) -> None:
    exif = Image.Exif()
    exif[274] = orientation
    data = encode(Image.fromarray(noise(43, 37)), "PNG", exif=exif)
    whole = images.load(data)
    with images.open(data) as opened:
        assert opened.shape == tuple(whole.shape)
        for key in SLICES:
            assert torch.equal(opened[key], whole[key]), key


def test_arrays_and_open_images_in_pieces() -> None:
    pixels = noise(43, 37)
    for source in (pixels, Image.fromarray(pixels)):
        with images.open(source) as opened:
            assert np.array_equal(opened[:, 3:9, 5:8].permute(1, 2, 0), pixels[3:9, 5:8])
            opened[:, 3:9, 5:8].zero_()  # a copy
        assert np.array_equal(np.asarray(source), pixels)


@pytest.mark.parametrize(
    "key", [0, (0, slice(None)), (slice(1), slice(None)), (slice(None),) * 4, (slice(None), 3),
            (slice(None), slice(-3, None)), (slice(None), slice(0, 9, 2)), ..., None]
)  # fmt: skip
def test_other_indices_are_refused(key: Any) -> None:
    with pytest.raises(IndexError), images.open(noise(9, 9)) as opened:
        opened[key]


# --- scaled


SIZES = [(1, 1), (7, 5), (50, 40), (101, 83), (100, 80), (131, 160), (1, 200), (300, 2)]


@pytest.mark.usefixtures("block")
@pytest.mark.parametrize(("height", "width"), SIZES)
def test_scaled_pieces_are_those_of_the_whole(
    height: int, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resample, "SIDE", 32)
    monkeypatch.setattr(resample, "STRIP", 500)
    pixels = noise(101, 83)
    expected = Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC)
    with images.open(pixels).scaled(height, width) as scaled:
        whole = scaled[:]
        assert whole.shape == scaled.shape == (3, height, width)
        off = whole.permute(1, 2, 0).int() - torch.from_numpy(np.array(expected)).int()
        assert off.abs().max() <= 1  # Pillow places its filter in single precision
        assert (off != 0).float().mean() < 0.02
    for side in (13, 32, 50):
        with images.open(pixels).scaled(height, width) as scaled:
            for top in range(0, height, side):
                for left in range(0, width, side):
                    box = (slice(None), slice(top, top + side), slice(left, left + side))
                    assert torch.equal(scaled[box], whole[box])


def test_same_size_is_the_same() -> None:
    pixels = noise(43, 37)
    with images.open(pixels) as opened:
        assert torch.equal(opened.scaled(43, 37)[:], opened[:])


def test_blocks_of_full_size() -> None:
    pixels = noise(1700, 2300)
    expected = Image.fromarray(pixels).resize((1150, 850), Image.Resampling.BICUBIC)
    with images.open(pixels).scaled(850, 1150) as scaled:
        off = scaled[:].permute(1, 2, 0).int() - torch.from_numpy(np.array(expected)).int()
        assert off.abs().max() <= 1
        assert torch.equal(scaled[:, 500:530, 1000:], scaled[:][:, 500:530, 1000:])


def test_the_turned_picture_is_scaled() -> None:
    exif = Image.Exif()
    exif[274] = 6
    data = encode(Image.fromarray(noise(60, 90)), "PNG", exif=exif)
    turned = images.load(data).permute(1, 2, 0).numpy()
    with images.open(data) as opened, images.open(turned) as judge:
        assert torch.equal(opened.scaled(30, 20)[:], judge.scaled(30, 20)[:])


def test_scaled_twice_and_to_nothing() -> None:
    with images.open(noise(9, 9)) as opened:
        scaled = opened.scaled(4, 5)
        with pytest.raises(ImageError, match="the image is scaled already; scale the picture"):
            scaled.scaled(2, 2)
        with pytest.raises(ImageError, match="cannot be scaled to 0 x 3; use 1 or more"):
            opened.scaled(3, 0)


def test_only_the_rows_under_a_piece_are_read() -> None:
    rows: list[int] = []

    def read(left: int, top: int, right: int, bottom: int) -> np.ndarray:
        rows.extend((top, bottom))
        return np.zeros((bottom - top, right - left, 3), np.uint8)

    resample.Resampled(read, (3000, 9000), (1000, 3000)).region(0, 1100, 10, 1200)
    assert min(rows) >= 1024 * 3 - 8 and max(rows) <= 1536 * 3 + 8


# --- when it is decoded, and what of it stays


def test_decoded_once_and_not_before(monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[Any] = []
    end = PngImagePlugin.PngImageFile.load_end
    monkeypatch.setattr(
        PngImagePlugin.PngImageFile, "load_end", lambda self: (decoded.append(self), end(self))
    )
    data = encode(Image.fromarray(noise(300, 90)), "PNG")
    with images.open(data) as opened:
        scaled = opened.scaled(100, 30)
        assert (opened.shape, opened.pages, decoded) == ((3, 300, 90), 1, [])
        for top in range(0, 300, 50):
            opened[:, top : top + 50]
            scaled[:, top : top + 20]
        assert len(decoded) == 1


def test_closing(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(encode(Image.fromarray(noise(9, 9)), "PNG"))
    with images.open(path) as opened:
        scaled = opened.scaled(4, 4)
        scaled[:]
    for closed in (opened, scaled):
        closed.close()  # again does no harm
        with pytest.raises(ImageError, match="a.png has been closed; open it again"):
            closed[:]
        with pytest.raises(ImageError, match="has been closed"):
            _ = closed.pages
    with images.open(path).scaled(4, 4) as scaled:
        assert repr(scaled) == f"<Scaled {path}: 4 x 4>"
    if os.path.isdir("/proc/self/fd"):
        links = [os.path.join("/proc/self/fd", fd) for fd in os.listdir("/proc/self/fd")]
        assert str(path) not in {os.readlink(link) for link in links if os.path.islink(link)}


def test_damage_is_told_when_it_is_read(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "half.jpg"
    data = encode(Image.fromarray(noise(64, 64)), "JPEG")
    path.write_bytes(data[: len(data) // 2])
    with images.open(path) as opened:
        assert opened.shape == (3, 64, 64)
        for _ in range(2):
            with pytest.raises(ImageError, match="half.jpg is a truncated JPEG image"):
                opened[:, :1, :1]


def test_threads_share_a_picture() -> None:
    data = encode(Image.fromarray(noise(400, 300)), "PNG")
    whole, wrong = images.load(data), []
    with images.open(data) as opened:
        scaled = opened.scaled(200, 150)
        half = images.open(data).scaled(200, 150)[:]

        def work(start: int) -> None:
            for top in range(start, 400, 40):
                if not torch.equal(opened[:, top : top + 40], whole[:, top : top + 40]):
                    wrong.append(top)
                if not torch.equal(scaled[:, top : top + 40], half[:, top : top + 40]):
                    wrong.append(top)

        threads = [threading.Thread(target=work, args=(start,)) for start in range(0, 40, 5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not wrong


@pytest.mark.parametrize(("mode", "held"), [("L", 1), ("P", 1), ("RGB", 4), ("I;16", 2)])
def test_bytes_held(mode: str, held: int) -> None:
    with images.open(encode(Image.new(mode, (4, 4)), "PNG")) as opened:
        assert opened.held == opened.scaled(2, 2).held == held
    with images.open(noise(4, 4)) as opened:
        assert opened.held == 0


# --- pages


def frames(kind: str) -> bytes:
    shown = [Image.new("RGB", (16, 8), colour) for colour in ("red", "lime", "blue")]
    options: dict[str, Any] = {"lossless": True} if kind == "WEBP" else {}
    return encode(shown[0], kind, save_all=True, append_images=shown[1:], **options)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF", "MPO"])
def test_pages(kind: str) -> None:
    data = frames(kind)
    for page in (1, 2, 3):
        with images.open(data, page=page) as opened:
            assert opened.pages == 3
            pixel = opened[:, 4:5, 4:5].flatten().int()
        assert (pixel - 255 * torch.eye(3).int()[page - 1]).abs().max() <= 5  # MPO is lossy
        assert images.size(data, page=page) == (16, 8)
    for page in (0, -1, 4, 99):
        for read in (images.load, images.open, images.size):
            with pytest.raises(ImageError, match=f"the image has no page {page}; choose 1 to 3"):
                read(data, page=page)


def test_pages_of_what_has_one() -> None:
    png = encode(Image.new("RGB", (4, 4)), "PNG")
    for source in (png, encode(Image.new("RGB", (4, 4)), "JPEG"), noise(4, 4)):
        with pytest.raises(ImageError, match="no page 2; it has 1 page only; choose 1"):
            images.open(source, page=2)
    image = Image.open(io.BytesIO(frames("TIFF")))
    image.seek(1)
    assert images.load(image)[:, 0, 0].tolist() == [0, 255, 0]
    for read in (images.load, images.size):
        with pytest.raises(ImageError, match="page 2 cannot be chosen; seek it instead"):
            read(image, page=2)


def test_pages_of_different_sizes() -> None:
    pages = [Image.new("RGB", (width, 8), "red") for width in (5, 70, 6)]
    data = encode(pages[0], "TIFF", save_all=True, append_images=pages[1:])
    assert [images.load(data, page=page).shape[2] for page in (1, 2, 3)] == [5, 70, 6]
    with pytest.raises(ImageError, match="70 x 8 = 560 pixels, over the limit of 100"):
        images.load(data, max_pixels=100, page=2)
    assert images.load(data, max_pixels=100, page=3).shape == (3, 8, 6)


# --- memory


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="reads the peak from /proc")
@pytest.mark.parametrize("scale", [1, 2, 30])
def test_no_second_full_copy(scale: int, tmp_path: pathlib.Path) -> None:
    path = tmp_path / "grey.png"
    Image.new("L", (14_000, 14_000), 99).save(path)  # 187 MiB decoded, 561 MiB as RGB
    code = f"""
import sys
from vqa import images
def peak():
    lines = open("/proc/self/status").read().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1])
before = peak()
picture = images.open({str(path)!r})
picture = picture if {scale} == 1 else picture.scaled(14000 // {scale}, 14000 // {scale})
for top in range(0, picture.shape[1], 512):
    for left in range(0, picture.shape[2], 512):
        assert picture[:, top:top + 512, left:left + 512].eq(99).all()
print((peak() - before) // 1024)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(run.stdout) < 300
