"""What a frozen image encoder made of image files, kept on disk for the next epoch."""

import hashlib
import json
import os
import time
import zlib
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

import vqa
from encoders.tiling import Grid
from encoders.vision.sheet import ImageTokens
from vqa import fingerprint
from vqa.config import Network

_SETTLED = 2 * 10**9  # ns; a younger file may change again within one tick of its time stamps
_TENSORS = ("tokens", "places", "pitch")
_BROKEN = (SafetensorError, OSError, KeyError, TypeError, ValueError)


class Missing(NamedTuple):
    """An image that is not kept yet: its pixels, uint8 `[3, H, W]`, and the key to keep it by.

    No key: the file changed while it was read, so nothing is known of these pixels.
    """

    pixels: Tensor
    key: str | None


class Features:
    """A folder with one safetensors file an image: the encoder's `features`, in their own dtype.

    A file's name is the SHA-256 of all that they depend on: the bytes of the image file, the
    size it was shrunk to, and `weights`, the image encoder's `of_vision`, to be set before use.
    What changes any of them changes the name, so an old file is never read by mistake; it stays on
    disk, and the whole folder may be deleted at any time. Several processes may share a folder.

    An image takes `tokens * (4 * width + 8)` bytes in fp32. Raises ValueError where the folder
    cannot be made or written to.
    """

    def __init__(self, folder: str | Path, weights: str | None = None) -> None:
        self.folder = Path(folder).expanduser()
        self.weights = weights
        self._hashes: dict[str, tuple[tuple[int, ...], str]] = {}
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self._refusal(error) from None

    def key(self, path: str, size: int | None = None) -> str:
        """The name of what is kept of the image file `path`, shrunk to `size` pixels."""
        return self.key_of(self._hash(path), size)

    def key_of(self, digest: str, size: int | None = None) -> str:
        """`key` of an image by the SHA-256 of what it is made of."""
        if self.weights is None:
            raise RuntimeError("the weights of the image encoder are not known yet")
        words = [digest, size, self.weights]
        return hashlib.sha256(json.dumps(words).encode()).hexdigest()

    def get(self, key: str) -> ImageTokens | None:
        """The tokens kept by that name, a batch of one; nothing where the file is broken."""
        try:
            with safe_open(self._path(key), "pt") as file:
                words = json.loads(file.metadata()["features"])
                tokens, places, pitch = (file.get_tensor(name) for name in _TENSORS)
            grids = [Grid(*grid) for grid in words["grids"]]
        except _BROKEN:
            return None
        if words != _words(key, grids, tokens, places, pitch):
            return None
        mask = torch.ones(1, len(tokens), dtype=torch.bool)
        return ImageTokens(tokens[None], mask, [tuple(grids)], places[None], pitch[None])

    def put(self, key: str, image: ImageTokens) -> None:
        """Keeps a batch of one by that name; the file is replaced when all is written.

        Raises ValueError, in one sentence, where the disk does not take it.
        """
        parts = [
            part[0].detach().cpu().contiguous()
            for part in (image.tokens, image.places, image.pitch)
        ]
        words = _words(key, image.grids[0], *parts)
        named = dict(zip(_TENSORS, parts, strict=True))
        content = save(named, {"features": json.dumps(words)})
        path = self._path(key)
        part = path.with_suffix(f".{uuid4().hex}.part")
        try:
            path.parent.mkdir(exist_ok=True)
            try:
                part.write_bytes(content)
                part.replace(path)
            finally:
                part.unlink(missing_ok=True)
        except OSError as error:
            raise self._refusal(error) from None

    def _hash(self, path: str) -> str:
        """SHA-256 of a file; that of an unchanged one is remembered."""
        now = time.time_ns()
        stat = os.stat(path)
        # The change time besides: nobody can set it back.
        state = (stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
        known = self._hashes.get(path)
        if known is not None and known[0] == state:
            return known[1]
        with open(path, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if now - max(stat.st_mtime_ns, stat.st_ctime_ns) > _SETTLED:
            self._hashes[path] = state, digest
        return digest

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key[2:]}.safetensors"

    def _refusal(self, error: OSError) -> ValueError:
        return ValueError(
            f"features cannot be kept in {self.folder} ({error.strerror}); give data.features a "
            "folder with room that can be written to"
        )


def of_vision(network: Network, trunk: nn.Module, precision: str) -> str:
    """SHA-256 of all that the features of an image depend on, but for the image.

    Recipe and weights of the encoder's `trunk`, `precision` of the trainer, the versions of this
    package and of timm.
    """
    words: list[Any] = [asdict(network.vision), precision]
    words += [vqa.__version__, version("timm"), fingerprint.of_weights(trunk)]
    return hashlib.sha256(json.dumps(words, sort_keys=True).encode()).hexdigest()


def join_tokens(parts: Sequence[ImageTokens], order: Sequence[int] | None = None) -> ImageTokens:
    """The images of all `parts` as one padded batch, a copy.

    `order`: which of them stands in each row (default: as they come).
    """
    width = max(part.tokens.shape[1] for part in parts)
    wide = [part.with_room(width - part.tokens.shape[1]) for part in parts]
    joined = ImageTokens(
        torch.cat([part.tokens for part in wide]),
        torch.cat([part.mask for part in wide]),
        [grids for part in wide for grids in part.grids],
        torch.cat([part.places for part in wide]),
        torch.cat([part.pitch for part in wide]),
    )
    return joined if order is None else joined.rows(order)


def _words(key: str, grids: Sequence[Grid], *parts: Tensor) -> dict[str, Any]:
    """What a file says of itself; a file that says anything else than its content is broken."""
    shapes = [list(grid) for grid in grids]
    checksum = zlib.crc32(json.dumps(shapes).encode())
    for part in parts:
        checksum = zlib.crc32(part.view(torch.uint8).numpy().data, checksum)
    return {"key": key, "grids": shapes, "checksum": checksum}
