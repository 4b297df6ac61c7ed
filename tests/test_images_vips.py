"""Tiles through libvips: the same pixels as Pillow's, and only those that are asked for."""

import importlib
import io
import pathlib
from typing import Any

import numpy as np
import pytest
import torch
from image_files import encode, noise, same
from PIL import Image
from test_images_icc import CMYK, GREY, RGB

from vqa import images
from vqa.images import ImageError, ImageSource, Picture, pillow, vips

needs_vips = pytest.mark.skipif(not vips.INSTALLED, reason="needs pyvips")


def tiled(pixels: np.ndarray, space: str = "srgb", **options: Any) -> bytes:
    """A TIFF in tiles of 64 x 64 pixels."""
    pyvips = importlib.import_module("pyvips")
    image = pyvips.Image.new_from_array(pixels).copy(interpretation=space)
    options = {"tile": True, "tile_width": 64, "tile_height": 64, **options}
    return image.tiffsave_buffer(**options)


def by_pillow(data: ImageSource, page: int = 1) -> torch.Tensor:
    with Picture(pillow.Reader(data, "p", page, images.MAX_PIXELS), "p") as picture:
        return picture[:]


def by_vips(data: ImageSource, page: int = 1) -> torch.Tensor:
    with Picture(vips.Reader(data, "v", page), "v") as picture:
        return picture[:]


def deep(channels: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 65536, (90, 130, channels)).astype(np.uint16)


MODES = ["RGB", "L", "1", "P", "LA", "RGBA", "CMYK", "I;16", "I", "F"]


@needs_vips
@pytest.mark.parametrize("mode", MODES)
def test_every_mode_as_pillow(mode: str) -> None:
    image = Image.fromarray(noise(90, 130, 4))
    if mode == "I;16":
        image = Image.fromarray(deep(1)[..., 0])
    elif mode == "F":
        image = Image.fromarray(noise(90, 130, 1)[..., 0].astype(np.float32) / 255)
    else:
        image = image.convert("RGB").quantize(99) if mode == "P" else image.convert(mode)
    data = encode(image, "TIFF")
    assert Image.open(io.BytesIO(data)).mode == mode
    assert (by_vips(data).int() - by_pillow(data).int()).abs().max() <= 1
    assert torch.equal(by_pillow(data), images.load(data))


TILED: dict[str, tuple[Any, str, dict[str, Any]]] = {
    "RGB": (noise(90, 130), "srgb", {}),
    "deflate": (noise(90, 130), "srgb", {"compression": "deflate"}),
    "JPEG": (noise(90, 130), "srgb", {"compression": "jpeg", "Q": 90}),
    "grey": (noise(90, 130, 1), "b-w", {}),
    "alpha": (noise(90, 130, 4), "srgb", {}),
    "premultiplied": (noise(90, 130, 4), "srgb", {"premultiply": True}),
    "grey alpha": (noise(90, 130, 2), "b-w", {}),
    "CMYK": (noise(90, 130, 4), "cmyk", {}),
    "16 bits": (deep(3), "rgb16", {}),
    "16-bit grey": (deep(1), "grey16", {}),
    "white is 0": (noise(90, 130, 1), "b-w", {"miniswhite": True}),
    "1 bit": (noise(90, 130, 1), "b-w", {"bitdepth": 1}),
    "BigTIFF pyramid": (noise(190, 230), "srgb", {"bigtiff": True, "pyramid": True}),
}


@needs_vips
@pytest.mark.parametrize("kind", TILED)
def test_tiles_as_pillow(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pixels, space, options = TILED[kind]
    data = tiled(pixels, space, **options)
    expected = by_pillow(data)
    assert (by_vips(data).int() - expected.int()).abs().max() <= 1
    monkeypatch.setattr(pillow.Reader, "decode", lambda self: pytest.fail("Pillow decoded it"))
    assert torch.equal(images.load(data), by_vips(data))
    with images.open(data) as picture:
        assert torch.equal(picture[:, 60:70, 3:90], by_vips(data)[:, 60:70, 3:90])
        assert isinstance(picture._reader, vips.Reader)


@needs_vips
@pytest.mark.parametrize(("mode", "profile"), [("RGB", RGB), ("L", GREY), ("CMYK", CMYK)])
def test_profiles_as_pillow(mode: str, profile: bytes) -> None:
    data = encode(Image.fromarray(noise(90, 130)).convert(mode), "TIFF", icc_profile=profile)
    assert (by_vips(data).int() - by_pillow(data).int()).abs().max() <= 1
    plain = encode(Image.fromarray(noise(90, 130)).convert(mode), "TIFF")
    assert (by_vips(data).int() - by_vips(plain).int()).abs().max() > 9


@needs_vips
@pytest.mark.parametrize("orientation", range(1, 9))
def test_turned_as_pillow(orientation: int) -> None:
    exif = Image.Exif()
    exif[274] = orientation
    data = encode(Image.fromarray(noise(90, 130)), "TIFF", exif=exif)
    assert torch.equal(by_vips(data), by_pillow(data))


@needs_vips
def test_a_fourth_band_that_is_no_opacity() -> None:
    data = bytearray(tiled(noise(90, 130, 4)))
    order = "little" if data[:2] == b"II" else "big"
    tag = (338).to_bytes(2, order) + (3).to_bytes(2, order) + (1).to_bytes(4, order)
    place = data.index(tag) + 8
    data[place : place + 2] = bytes(2)  # ExtraSamples: unspecified
    assert same(images.load(bytes(data)), noise(90, 130, 4)[..., :3])


@needs_vips
def test_pages_and_pyramids() -> None:
    data = tiled(noise(190, 230), pyramid=True)
    with images.open(data, page=2) as level:
        assert (level.shape, level.pages) == ((3, 95, 115), 3)
        assert torch.equal(level[:], by_pillow(data, page=2))
    for page in (0, 4):
        with pytest.raises(ImageError, match=f"no page {page}; choose 1 to 3"):
            images.open(data, page=page)
        with pytest.raises(ImageError, match=f"no page {page}; choose 1 to 3"):
            vips.Reader(data, "the image", page)


@needs_vips
@pytest.mark.parametrize("compression", ["lzw", "jpeg"])
def test_only_the_tiles_asked_for_are_decoded(tmp_path: pathlib.Path, compression: str) -> None:
    path = tmp_path / "a.tif"
    pixels = noise(640, 640) // 16
    data = bytearray(tiled(pixels, compression=compression))
    sound = by_vips(bytes(data))
    place = len(data) * 9 // 10
    data[place : place + 900] = b"\xff" * 900
    path.write_bytes(data)
    with images.open(path) as picture:
        assert torch.equal(picture[:, :64], sound[:, :64])
        for _ in range(2):  # and does not show black the second time
            with pytest.raises(ImageError, match="a.tif is a corrupt or truncated TIFF image"):
                picture[:]


@needs_vips
@pytest.mark.parametrize("part", [0.01, 0.3, 0.9, 0.999])
def test_a_cut_file_is_refused_or_whole(part: float) -> None:
    data = tiled(noise(300, 300), compression="deflate")
    with pytest.raises(ImageError, match="truncated"):
        images.load(data[: int(len(data) * part)])


@needs_vips
def test_a_changed_file_is_read_anew_and_let_go(tmp_path: pathlib.Path) -> None:
    path, links = tmp_path / "a.tif", pathlib.Path("/proc/self/fd")
    for pixels in (noise(90, 130), 255 - noise(90, 130)):
        path.write_bytes(tiled(pixels))
        assert same(images.load(path), pixels)
        if links.is_dir():
            assert path not in {link.resolve() for link in links.iterdir() if link.exists()}


@needs_vips
def test_the_limit_is_asked_first() -> None:
    with pytest.raises(ImageError, match="130 x 90 = 11,700 pixels, over the limit of 9,000"):
        images.open(tiled(noise(90, 130)), max_pixels=9000)


@needs_vips
def test_kinds_that_pillow_cannot_read() -> None:
    assert same(images.load(tiled(noise(90, 130, 3) / np.float32(255))), noise(90, 130))
    with pytest.raises(ImageError, match="corrupt or truncated TIFF"):
        by_pillow(tiled(deep(2), "grey16"))
    assert images.load(tiled(deep(2), "grey16")).shape == (3, 90, 130)
    with pytest.raises(ImageError, match="has 7 bands of uchar; save it as grey, RGB"):
        vips.Reader(tiled(noise(9, 9, 7), "multiband"), "the image")


def test_the_remedy_where_pyvips_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vips, "INSTALLED", False)
    data = encode(Image.fromarray(noise(9, 9)), "TIFF")
    tag = b"\x03\x01\x03\x00\x01\x00\x00\x00"  # compression, one short
    strange = data.replace(tag + b"\x01\x00", tag + (33005).to_bytes(2, "little"))
    assert strange != data
    with pytest.raises(ImageError) as caught:
        images.load(strange)
    assert str(caught.value) == (
        "the image is a TIFF of a kind that Pillow cannot read (33005); "
        'pip install "latte-vqa[vips]" to read such files'
    )
    assert same(images.load(data), noise(9, 9))
