"""Features of images on disk: what is kept comes back, or nothing does."""

import errno
import hashlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from networks import IMAGES, make
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor

from encoders.tiling import Grid
from encoders.vision.sheet import ImageTokens
from vqa.features import Features, join_tokens


def tokens(rows: int = 3, columns: int = 5, dtype: torch.dtype = torch.float32) -> ImageTokens:
    generator = torch.Generator().manual_seed(rows)
    count = rows * columns + 1
    values = torch.randn(1, count, 8, generator=generator).to(dtype)
    places = torch.rand(1, count, 2, generator=generator)
    mask = torch.ones(1, count, dtype=torch.bool)
    pitch = torch.tensor([[1 / rows, 1 / columns]])
    return ImageTokens(values, mask, [(Grid(rows, columns), Grid(1, 1))], places, pitch)


def same(one: ImageTokens | None, other: ImageTokens) -> bool:
    if one is None:
        return False
    equal = [torch.equal(a, b) for a, b in zip(one, other, strict=True) if isinstance(a, Tensor)]
    return len(equal) == 4 and all(equal) and one.grids == other.grids


def file_of(folder: Path) -> Path:
    (path,) = folder.rglob("*.safetensors")
    return path


@pytest.mark.parametrize("dtype", (torch.float32, torch.float16, torch.bfloat16))
def test_what_is_kept_comes_back(dtype: torch.dtype, tmp_path: Path) -> None:
    features, image = Features(tmp_path / "a" / "b"), tokens(dtype=dtype)
    assert features.get("ab12") is None
    features.put("ab12", image)
    found = features.get("ab12")
    assert same(found, image) and found is not None and found.tokens.dtype == dtype
    assert features.get("ab13") is None
    assert file_of(tmp_path) == tmp_path / "a" / "b" / "ab" / "12.safetensors"
    assert not list(tmp_path.rglob("*.part"))


def test_a_broken_file_is_none_and_is_replaced(tmp_path: Path) -> None:
    features, image = Features(tmp_path), tokens()
    features.put("abcd", image)
    path = file_of(tmp_path)
    whole = path.read_bytes()
    broken = [whole[:length] for length in (0, 1, 8, 100, len(whole) - 1)]
    for at in range(0, len(whole), 7):  # one wrong bit anywhere, header, grids and tokens alike
        broken.append(whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :])
    for content in broken:
        path.write_bytes(content)
        assert features.get("abcd") is None or same(features.get("abcd"), image)
    trusted = 0
    for content in broken:
        path.write_bytes(content)
        trusted += features.get("abcd") is not None
    assert trusted < 0.05 * len(broken)  # a bit in a space or a name changes nothing
    features.put("abcd", image)
    assert same(features.get("abcd"), image)
    shutil.copy(path, path.with_stem("ce"))
    assert features.get("abce") is None  # another image's


def test_a_file_of_other_content_is_none(tmp_path: Path) -> None:
    features = Features(tmp_path)
    features.put("abcd", tokens())
    path = file_of(tmp_path)
    parts = load_file(path)
    for content in ({"tokens": parts["tokens"]}, parts):
        save_file(content, path)
        assert features.get("abcd") is None


def test_the_key_tells_bytes_size_and_weights(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("a.png", "b.png", "copy.png")]
    for path, height in zip(paths, (8, 9, 8), strict=True):
        Image.new("RGB", (4, height)).save(path)
    one, other = Features(tmp_path / "f", "weights"), Features(tmp_path / "f", "others")
    keys = [one.key(str(path), size) for path in paths[:2] for size in (None, 4, 5)]
    keys += [other.key(str(paths[0]))]
    assert len(set(keys)) == len(keys)
    assert one.key(str(paths[2])) == keys[0]


@pytest.mark.parametrize("later", (0, 10**10), ids=("young", "settled"))
def test_a_changed_file_has_another_key(
    later: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even one of the same length and time stamp, however soon."""
    now = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: now() + later)
    path = tmp_path / "a.png"
    features, keys = Features(tmp_path / "f", "w"), set()
    for content in (b"one", b"two", b"six"):
        path.write_bytes(content)
        os.utime(path, ns=(10**18, 10**18))
        keys.add(features.key(str(path)))
        time.sleep(0.02 if later else 0)  # a tick of the file system's clock
    assert len(keys) == 3


def test_an_unchanged_file_is_hashed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Any] = []
    digest = hashlib.file_digest
    monkeypatch.setattr(hashlib, "file_digest", lambda *a: read.append(a) or digest(*a))
    path = tmp_path / "a.png"
    path.write_bytes(b"one")
    features = Features(tmp_path / "f", "w")
    assert len({features.key(str(path)) for _ in range(3)}) == 1
    assert len(read) == 3  # too young to be trusted
    now = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: now() + 10**10)
    assert len({features.key(str(path), size) for size in (None, None, 5)}) == 2
    assert len(read) == 4


def test_joined_tokens_are_the_batch(tmp_path: Path) -> None:
    """As the encoder lays out the same images, and in any order."""
    vision = make().vision
    with torch.no_grad():
        batch = vision(IMAGES)
        alone = [vision([image]) for image in IMAGES]
    joined = join_tokens(alone)
    assert torch.equal(joined.mask, batch.mask) and joined.grids == batch.grids
    assert torch.equal(joined.places, batch.places)
    torch.testing.assert_close(joined.tokens, batch.tokens)
    assert same(join_tokens([join_tokens(alone[:2]), alone[2]]), joined)
    turned = join_tokens([alone[2], join_tokens(alone[:2])], order=[1, 2, 0])
    assert same(turned, joined)
    kept = alone[0].tokens.clone()
    join_tokens(alone[:1]).tokens.zero_()
    assert torch.equal(alone[0].tokens, kept)  # a copy


HAMMER = """
import torch
from encoders.tiling import Grid
from encoders.vision.sheet import ImageTokens
from vqa.features import Features

def hammer(folder):
    # Writes four files again and again; counts how often what is read is not what was written.
    features, wrong, mask = Features(folder), 0, torch.ones(1, 5000, dtype=torch.bool)
    places, pitch = torch.zeros(1, 5000, 2), torch.zeros(1, 2)
    for turn in range(25):
        for number in range(4):
            tokens = torch.full((1, 5000, 16), float(number))
            found = features.get(f"ab{number}")
            wrong += turn > 0 and (found is None or not torch.equal(found.tokens, tokens))
            image = ImageTokens(tokens, mask, [(Grid(50, 100),)], places, pitch)
            features.put(f"ab{number}", image)
    return wrong
"""


def test_two_processes_write_the_same_files(tmp_path: Path) -> None:
    ready = "\nprint('ready', flush=True)\nimport sys\nprint(hammer(sys.argv[1]))"
    other = subprocess.Popen(
        [sys.executable, "-c", HAMMER + ready, str(tmp_path)],
        cwd=Path(__file__).parents[1],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert other.stdout is not None and other.stdout.readline() == "ready\n"
    names: dict[str, Any] = {}
    exec(HAMMER, names)
    assert names["hammer"](tmp_path) == 0
    assert other.communicate()[0] == "0\n"
    left = sorted(path.name for path in (tmp_path / "ab").iterdir())
    assert left == [f"{number}.safetensors" for number in range(4)]


def test_a_full_disk_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, content: bytes) -> int:
        path.touch()
        raise OSError(errno.ENOSPC, "No space left on device")

    features = Features(tmp_path)
    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(ValueError, match=f"kept in {tmp_path} .No space left"):
        features.put("abcd", tokens())
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
