"""Where files are kept that can be made again: $LATTE_VQA_CACHE, or the user's cache folder."""

import os
from pathlib import Path
from uuid import uuid4


def cache_folder() -> Path:
    """The folder; it may not exist yet."""
    if named := os.environ.get("LATTE_VQA_CACHE"):
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "latte-vqa"


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file whole or not at all, with its folder: other processes may write the same.

    Raises OSError if the disk does not take it.
    """
    part = path.with_name(f"{path.name}.{uuid4().hex}.part")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        part.write_bytes(content)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
