"""The models that come with the package, and what their cards say of them."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from huggingface_hub import ModelCard

FOLDER = Path(__file__).parent / "bundled"
DEFAULT = "easy-vqa"
"""The model that answers where none is named."""
DEMO = "documents"
"""The model that the demo begins with: visitors bring scans rather than coloured shapes."""


@dataclass(frozen=True)
class Card:
    """What a model is for, in the words of its README.md.

    `trained_for` and `cannot` are a sentence each, `score` a short line. `size` in bytes, of the
    weights.
    """

    name: str
    size: int
    trained_for: str
    cannot: str
    score: str


def names() -> list[str]:
    """The bundled models, the default first."""
    found = sorted(path.parent.name for path in FOLDER.glob("*/config.json"))
    return sorted(found, key=lambda name: name != DEFAULT)


def folder(name: str | Path) -> Path | None:
    """The folder of a bundled model; none of another's name."""
    return FOLDER / name if str(name) in names() else None


@cache
def card(name: str | Path) -> Card | None:
    """The card of a bundled model, or of a model folder that has one with these words."""
    place = folder(name) or Path(name).expanduser()
    try:
        words = ModelCard.load(place / "README.md").data.to_dict()
        return Card(
            name=place.name,
            size=sum(file.stat().st_size for file in place.glob("model*.safetensors")),
            trained_for=str(words["trained_for"]),
            cannot=str(words["cannot"]),
            score=str(words["score"]),
        )
    except (OSError, KeyError, ValueError):
        return None
