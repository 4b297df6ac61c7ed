"""The folder of a trained tagger: its groups of tags and its weights."""

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

GROUPS, WEIGHTS = "groups.json", "tagger.safetensors"
WORDS = ("groups", "several", "shown")


def save_tagger(folder: Path, groups: dict[str, Any], weights: dict[str, Tensor]) -> None:
    """Write a new folder: `groups` has groups, several (encoders/vision/tagger.py) and shown."""
    folder.mkdir(parents=True)
    (folder / GROUPS).write_text(json.dumps(groups, ensure_ascii=False), encoding="utf-8")
    save_file(weights, folder / WEIGHTS)


def tagger_groups(folder: str | Path) -> dict[str, Any]:
    """What `save_tagger` was given as groups. Raises ValueError, in one sentence."""
    path = Path(folder) / GROUPS
    try:
        words: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return {name: words[name] for name in WORDS}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{folder} is no folder of `vqa fit-tagger` ({error})") from None


def tagger_weights(folder: str | Path) -> dict[str, Tensor]:
    """The tensors of a tagger by name. Raises ValueError, in one sentence."""
    try:
        return load_file(Path(folder) / WEIGHTS)
    except (OSError, SafetensorError) as error:
        raise ValueError(f"{folder} is no folder of `vqa fit-tagger` ({error})") from None
