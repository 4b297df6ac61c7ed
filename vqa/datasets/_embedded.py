"""Images that lie inside the rows of a table, as files: what reads images reads paths.

Each image is written once, into the folder images of the user's cache (LATTE_VQA_CACHE names
another), and named by the SHA-256 of its bytes: rows about the same image share a file. An index a
table remembers which row has which, so that the bytes are read the first time only. The folder may
be deleted at any time.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path

from tqdm import tqdm

from vqa.cache_folder import cache_folder, write_atomically
from vqa.datasets import DataError
from vqa.images import pillow

Paths = list[str | None]
"""The image of each row; None: the row has none."""


def extract(key: str, count: int, contents: Callable[[], Iterable[bytes | str | None]]) -> Paths:
    """The image files of a table of `count` rows; `key` names the table and its state.

    `contents()` goes through the rows, each the bytes of its image, or the path of a file, or None.
    """
    folder = _folder()
    index = folder / "tables" / f"{hashlib.sha256(key.encode()).hexdigest()}.json"
    kept = _kept(index, count)
    if kept is not None:
        return kept
    # Says what takes long, where it does.
    rows = tqdm(contents(), total=count, unit="image", desc="unpack images", delay=1)
    paths: Paths = [_store(folder, row) if isinstance(row, bytes) else row for row in rows]
    _write(index, json.dumps(paths).encode())
    return paths


def _folder() -> Path:
    return cache_folder().absolute() / "images"


def _kept(index: Path, count: int) -> Paths | None:
    """What `extract` remembered, if all of its files are still there."""
    try:
        paths = json.loads(index.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    sound = isinstance(paths, list) and len(paths) == count
    return paths if sound and all(os.path.isfile(path) for path in set(paths) - {None}) else None


def _store(folder: Path, content: bytes) -> str:
    name = hashlib.sha256(content).hexdigest()
    kind = pillow.format_of(content[:16])
    path = folder / name[:2] / f"{name[2:]}{f'.{kind.lower()}' if kind else ''}"
    if not path.exists() or path.stat().st_size != len(content):
        _write(path, content)
    return str(path)


def _write(path: Path, content: bytes) -> None:
    try:
        write_atomically(path, content)
    except OSError as error:
        raise DataError(
            f"{path.parent} cannot be written to ({error.strerror}); set LATTE_VQA_CACHE to a "
            "folder with room for the images of the table"
        ) from error
