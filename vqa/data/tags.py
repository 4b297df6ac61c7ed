"""What a photo shows, as words: the likeliest tags of each group, for a language model to read."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor

from vqa.datasets import DataError

KIND = "kind"
"""The group that tells what sort of picture it is; its tags have groups of their own."""
PAGE = "page"
"""The kind of picture that is print and nothing else: it has no tags."""
LEAST = 0.15
"""Less probable tags are left out."""
MOST = 3
"""Tags of an exclusive group."""
MOST_SEVERAL = 8
"""Tags of a group whose tags may apply together."""


def tags_text(
    found: Mapping[str, Tensor],
    groups: Mapping[str, Sequence[str]],
    several: Sequence[str],
    shown: Mapping[str, Sequence[str]],
) -> str:
    """A line for each group: its likeliest tags, with their probabilities in percent.

    `found`: probabilities `[tags]` of each of `groups`; `shown`: which groups tell more of each
    kind of picture. A page of print has no lines.
    """
    kinds = dict(zip(groups[KIND], found[KIND].tolist(), strict=True))
    if kinds[PAGE] > 0.5:
        return ""
    names = [
        name
        for kind, names in shown.items()
        if kinds[kind] >= LEAST or kinds[kind] == max(kinds.values())
        for name in names
    ]
    lines = []
    for name in dict.fromkeys(names):
        most = MOST_SEVERAL if name in several else MOST
        ranked = sorted(zip(found[name].tolist(), groups[name], strict=True), reverse=True)[:most]
        told = [f"{tag} {round(100 * share)}%" for share, tag in ranked if share >= LEAST]
        if told:
            lines.append(f"{name}: {', '.join(told)}")
    return "\n".join(lines)


def image_text(print_text: str, tags: str) -> str:
    """The text of an image: what is printed, then what it shows; either may be missing."""
    return "\n".join(part for part in (print_text, tags) if part)


class TagFile:
    """Tags of image files, written by `vqa fit-tagger`: JSON lines of SHA-256 and text."""

    def __init__(self, path: str | Path) -> None:
        try:
            lines = Path(path).read_text(encoding="utf-8").splitlines()
            rows = [json.loads(line) for line in lines]
            self._text = {row["sha256"]: str(row["tags"]) for row in rows}
        except OSError as error:
            raise DataError(f"{path} cannot be read: {error.strerror}") from None
        except (ValueError, KeyError, TypeError):
            raise DataError(f"{path} is no file of tags; `vqa fit-tagger` writes one") from None

    def of(self, path: str | Path) -> str:
        """The tags of the image file `path`; none of one that is not in the file."""
        return self._text.get(_digest(path), "")

    @staticmethod
    def write(path: Path, texts: Mapping[str, str]) -> None:
        """Write the tags `texts` of image files, by their paths."""
        with path.open("w", encoding="utf-8") as file:
            for name, text in texts.items():
                row = {"sha256": _digest(name), "tags": text}
                file.write(json.dumps(row, ensure_ascii=False) + "\n")


def _digest(path: str | Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
