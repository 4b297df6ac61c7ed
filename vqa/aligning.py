"""Which of the letters on an image are the letters of an answer: an alignment of the two.

A box of evidence is often that of a whole line, and an address may come without any. Once a network
names letters, where an answer stands can be told from what it says.
"""

import numpy as np
import torch
from torch import Tensor

_SKIP = -2.0
"""Log-weight of a letter of the image amid the answer that is not of it."""
_MISS = -6.0
"""Log-weight of a letter of the answer that the image does not show."""
_LEGIBLE = 0.3
"""Probability from which a letter counts as the one it is taken for."""
_SHARE = 0.7
"""Share of the answer's letters that must be, for the alignment to be believed."""


def align(names: Tensor, letters: Tensor) -> Tensor | None:
    """The letter, by its number, that each token shows, or -1: int `[N]`; None where the answer is
    not legible there.

    `names` `[N, V]`: log-probabilities of what each token shows; `letters` int `[L]`.
    """
    if not len(letters) or not len(names):
        return None
    match = names[:, letters].double().numpy()  # [N, L]
    score, came = _forward(match)
    found = _backward(score, came, len(letters))
    held = found >= 0
    legible = match[held, found[held]] > np.log(_LEGIBLE)
    if legible.sum() < _SHARE * len(letters):
        return None
    return torch.from_numpy(found)


def _forward(match: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
    """Best weights `[N + 1]` of all letters after so many tokens, and for each letter whether the
    best way to it took a token (1), missed it (0) or skipped the token before (2)."""
    count = len(match)
    cost = _SKIP * np.arange(count + 1)
    score = np.zeros(count + 1)  # the answer begins anywhere
    came = []
    for letter in range(match.shape[1]):
        taken = np.full(count + 1, -np.inf)
        taken[1:] = score[:-1] + match[:, letter]
        best = np.maximum(taken, score + _MISS)
        over = np.maximum.accumulate(best - cost) + cost
        came.append(np.where(over > best + 1e-9, 2, (taken >= score + _MISS).astype(int)))
        score = over
    return score, came


def _backward(score: np.ndarray, came: list[np.ndarray], letters: int) -> np.ndarray:
    found = np.full(len(score) - 1, -1)
    place, letter = int(score.argmax()), letters - 1
    while letter >= 0:
        step = came[letter][place]
        if step == 2:
            place -= 1
            continue
        if step == 1:
            place -= 1
            found[place] = letter
        letter -= 1
    return found
