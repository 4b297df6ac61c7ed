"""Where files are kept that can be made again: $LATTE_VQA_CACHE, or the user's cache folder."""

import os
from pathlib import Path


def cache_folder() -> Path:
    """The folder; it may not exist yet."""
    if named := os.environ.get("LATTE_VQA_CACHE"):
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "latte-vqa"
