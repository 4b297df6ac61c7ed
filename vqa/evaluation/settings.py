"""What the answers of an evaluation depend on, besides model and questions."""

from dataclasses import dataclass
from pathlib import Path

from vqa.budget import Budget


@dataclass(frozen=True)
class Settings:
    """How questions are answered.

    `limit`: the first questions only. `candidates`: the answers there are for every question,
    `choices`: those that each question brings along; without either the answer is written freely.
    `baseline` and `options` of the data set: told by whoever made it; they may decide its score.
    Each image is read at the largest scale that `budget` allows; a limit of memory or seconds is
    one of a question, and has them answered one by one. `longest_side`: pixels that the longer side
    of an image keeps at most. `features`: folder in which the image encoder's tokens are kept
    (vqa/features.py); each image is then encoded by itself, which may end in other last bits.
    """

    batch_size: int = 64
    limit: int | None = None
    top_k: int = 1
    budget: Budget = Budget()
    candidates: tuple[str, ...] = ()
    choices: bool = False
    baseline: str | None = None
    options: tuple[str, ...] = ()
    longest_side: int | None = None
    features: Path | None = None

    @property
    def together(self) -> int:
        """Questions answered at once."""
        alone = self.budget.max_memory is not None or self.budget.max_seconds is not None
        return 1 if alone else self.batch_size
