"""What a frozen image encoder made of image files, kept on disk for the next epoch."""

import hashlib
import json
import os
import time
import zlib
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

import vqa
from encoders.tiling import Grid
from encoders.vision.sheet import ImageTokens
from vqa import fingerprint
from vqa.cache_folder import write_atomically
from vqa.config import Network

if TYPE_CHECKING:
    from vqa.batch import Batch
    from vqa.model import LatteVQA

_SETTLED = 2 * 10**9  # ns; a younger file may change again within one tick of its time stamps
_PRECISIONS = {torch.float32: "32-true", torch.bfloat16: "bf16-true", torch.float16: "16-true"}
"""Lightning's words for a model whose weights have that type."""
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

    @staticmethod
    def of(model: "LatteVQA", folder: str | Path) -> "Features":
        """Those in `folder` that a training of `model` in its own dtype keeps and finds, too."""
        precision = _PRECISIONS[model.dtype]
        return Features(folder, of_vision(model.network, model.vision.trunk, precision))

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
        try:
            path.parent.mkdir(exist_ok=True)  # not the folder itself: it was made, and must stay
            write_atomically(path, content)
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
            f"features cannot be kept in {self.folder} ({error.strerror}); give a folder with room "
            "that can be written to"
        )


def of_vision(network: Network, trunk: nn.Module, precision: str) -> str:
    """SHA-256 of all that the features of an image depend on, but for the image.

    Recipe and weights of the encoder's `trunk`, `precision` of the trainer, the versions of this
    package and of timm.
    """
    words: list[Any] = [asdict(network.vision), precision]
    words += [vqa.__version__, version("timm"), fingerprint.of_weights(trunk)]
    return hashlib.sha256(json.dumps(words, sort_keys=True).encode()).hexdigest()


@torch.no_grad()
def encode_alone(
    vision: Any, batch: "Batch", features: Features | None = None
) -> tuple[ImageTokens, Tensor]:
    """The `vision.features` of the images of `batch`, and which of them each question is about.

    Each image is encoded by itself, unless its tokens came with the batch; `features` keeps those
    that are new. What was kept, and what stands in the batch besides, changes no bit.
    """
    parts: list[ImageTokens] = []
    for image, key in zip_longest(batch.images, batch.keys):
        parts.append(vision.features([image]))
        if features is not None and key is not None:
            features.put(key, parts[-1])
    if batch.stored is not None:
        parts.append(batch.stored)
    # In the order in which questions name them: what is kept must not change sums.
    numbers = batch.image_index.tolist()
    order = list(dict.fromkeys(numbers))
    row = {number: index for index, number in enumerate(order)}
    index = torch.tensor([row[number] for number in numbers])
    return join_tokens(parts, order), index.to(batch.image_index.device)


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
