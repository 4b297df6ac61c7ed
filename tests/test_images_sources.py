"""What may be handed in; and what the others are told before anything is decoded."""

import os
import pathlib
from typing import Any

import numpy as np
import pytest
import torch
from image_files import RED, WHITE, encode, noise, refusal, rows, same
from PIL import Image

from vqa import images
from vqa.images import ImageError, picture


def test_path_bytes_image_and_array_agree(tmp_path: pathlib.Path) -> None:
    pixels = noise(5, 7)
    path = tmp_path / "a.png"
    Image.fromarray(pixels).save(path)
    sources: list[Any] = [path, str(path), path.read_bytes(), bytearray(path.read_bytes()), pixels]
    for source in [*sources, Image.fromarray(pixels), Image.open(path)]:
        assert same(images.load(source), pixels)
        assert images.size(source) == (7, 5)


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="lists open files by /proc")
def test_file_is_closed(tmp_path: pathlib.Path) -> None:
    good, bad = tmp_path / "a.tif", tmp_path / "b.png"
    Image.fromarray(noise(9, 9)).save(good)
    bad.write_bytes(encode(Image.fromarray(noise(9, 9)), "PNG")[:100])
    images.load(good)
    images.size(good)
    refusal(bad)
    links = [os.path.join("/proc/self/fd", fd) for fd in os.listdir("/proc/self/fd")]
    still_open = {os.readlink(link) for link in links if os.path.islink(link)}
    assert not still_open & {str(good), str(bad)}


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 5000), (5000, 1), (1500, 1100)])
def test_full_size_across_strips(height: int, width: int) -> None:
    pixels = noise(height, width)
    assert same(images.load(encode(Image.fromarray(pixels), "PNG")), pixels)
    assert same(images.load(pixels), pixels)


def test_strip_width_does_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = noise(23, 10)
    whole = images.load(encode(Image.fromarray(pixels), "PNG"))
    monkeypatch.setattr(picture, "BLOCK", 4)  # four rows at a time, then a shorter rest
    assert torch.equal(images.load(encode(Image.fromarray(pixels), "PNG")), whole)


@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 1)])
def test_grey_arrays(shape: tuple[int, ...]) -> None:
    array = np.arange(6, dtype=np.uint8).reshape(shape)
    assert images.load(array).tolist() == [[[0, 1, 2], [3, 4, 5]]] * 3


def test_bool_and_float_arrays() -> None:
    assert images.load(np.array([[True, False]]))[0].tolist() == [[255, 0]]
    for dtype in (np.float16, np.float32, np.float64):
        assert images.load(np.array([[0, 0.5, 1]], dtype))[0].tolist() == [[0, 128, 255]]
    assert rows(images.load(np.array([[[1.0, 0, 0, 0], [1.0, 0, 0, 1]]]))) == [[WHITE, RED]]


def test_array_is_copied() -> None:
    array = noise(3, 3)
    before = array.copy()
    images.load(array).zero_()
    assert np.array_equal(array, before)
    assert same(images.load(array[::-1, ::2]), before[::-1, ::2])  # any strides


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (np.zeros((3, 8, 9), np.uint8), "shape (3, 8, 9); pass [H, W] or [H, W, C]"),
        (np.zeros((1, 8, 9, 3), np.uint8), "shape (1, 8, 9, 3)"),
        (np.zeros(4, np.uint8), "shape (4,)"),
        (np.zeros((4, 4, 2), np.uint8), "shape (4, 4, 2)"),
        (np.zeros((4, 4), np.int64), "an array of int64; pass uint8"),
        (np.zeros((4, 4), complex), "an array of complex128"),
        (np.array([["a"]]), "an array of <U1"),
        (np.array([[0.5, np.nan]]), "float64 pixel value nan; scale its pixels to [0, 1]"),
        (np.array([[np.inf]]), "pixel value inf"),
        (np.array([[200.0]]), "pixel value 200.0"),
        (np.array([[-0.1]]), "pixel value -0.1"),
        (np.zeros((0, 5), np.uint8), "no pixels (5 x 0)"),
        (np.zeros((5, 0, 3), np.uint8), "no pixels (0 x 5)"),
    ],
)
def test_bad_arrays(array: np.ndarray, reason: str) -> None:
    message = refusal(array)
    assert message.startswith("the image ") and reason in message


def test_not_a_file(tmp_path: pathlib.Path) -> None:
    missing = tmp_path / "nope.png"
    assert refusal(missing) == f"{missing} does not exist; check the path"
    assert refusal(tmp_path) == f"{tmp_path} is a directory; pass an image file"
    assert "is a URL; download it" in refusal("https://example.org/a.png")
    assert refusal("") == "an empty path does not exist; check the path"
    assert "does not exist" in refusal("a\0b.png")
    with pytest.raises(ImageError, match="nope.png does not exist"):
        images.size(missing)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
@pytest.mark.timeout(10)
def test_a_pipe_does_not_block(tmp_path: pathlib.Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    assert "is not a regular file" in refusal(tmp_path / "pipe.png")


def test_unreadable_file(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.png"
    path.touch()

    def deny(*args: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", deny)  # root may read everything, so pretend
    message = refusal(path)
    monkeypatch.undo()
    assert message == f"{path} cannot be opened (Permission denied); check the file"


def test_empty_and_text_files(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "a.png"
    path.touch()
    assert refusal(path) == f"{path} is empty (0 bytes); pass an image file"
    path.write_text("This is a text, whatever its name says.\n" * 9)
    assert refusal(path).startswith(f"{path} is not an image that can be read here; use PNG, JPEG")
    assert refusal(b"") == "the image is empty (0 bytes); pass an image file"


def test_eps_never_runs_ghostscript() -> None:
    data = encode(Image.new("RGB", (4, 4)), "EPS")
    assert "is not an image that can be read here" in refusal(data)


@pytest.mark.parametrize("source", [None, 3, [[0]], torch.zeros(3, 4, 4)])
def test_other_types(source: object) -> None:
    assert refusal(source).startswith(f"an image cannot be a {type(source).__name__}; pass a path")
