"""The models that a visitor may choose from, loaded when first asked."""

from collections.abc import Sequence
from threading import Lock
from typing import Any

from app.upload import failure
from vqa import models
from vqa.predictor import Predictor


class Choice:
    """`first` and the bundled models named in `others`."""

    def __init__(self, first: Predictor, others: Sequence[str] = ()) -> None:
        self.first = first.name
        self.names = [first.name, *(name for name in others if name != first.name)]
        self._loaded = {first.name: first}
        self._lock = Lock()

    def get(self, name: Any = None) -> Predictor:
        """The model of that name, or the first; unknown names are a sentence to the visitor."""
        name = self.first if name is None else name
        if name not in self.names:
            raise failure(f"there is no model {name!r}; choose one of {', '.join(self.names)}")
        with self._lock:
            if name not in self._loaded:
                self._loaded[name] = Predictor.from_pretrained(name)
            return self._loaded[name]


def note(name: str) -> str:
    """What a model is for and cannot do, as Markdown; nothing of a model without a card."""
    card = models.card(name)
    if card is None:
        return ""
    return (
        f"**{card.name}** was trained for {card.trained_for}. It cannot {card.cannot}. "
        f"Measured: {card.score}."
    )
