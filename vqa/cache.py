"""The decoder's states as a Hugging Face cache, so that generate() searches over them."""

from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache

from encoders.pointer import Pointer
from encoders.stack import States


class StateCache(Cache):
    """One mixer state a decoder layer: all that is known of image, question and the answer so far.

    `length` counts the answer tokens read; the memory before them is not counted, for generate()
    would take it for a prompt. `carried` `[B, n, D]`, where the network has it, is what the
    answer's tokens bear of the question, and of what was found that of which it is the turn by
    `pointer`. With Latte the size does not depend on how much was read.
    """

    is_compileable = False
    is_croppable = False

    def __init__(
        self,
        states: States,
        length: int = 0,
        carried: Tensor | None = None,
        pointer: Pointer | None = None,
    ) -> None:
        super().__init__(layers=[])
        self.states = states
        self.length = length
        self.carried = carried
        self.pointer = pointer

    def get_seq_length(self, layer_idx: int = 0) -> int:
        return self.length

    def select(self, rows: Tensor) -> "StateCache":
        """A new cache with the given rows of the batch, repeated or re-ordered at will."""
        carried, pointer = self.carried, self.pointer
        if carried is not None:
            carried = carried.index_select(0, rows.to(carried.device))
        if pointer is not None:
            pointer = _select(pointer, rows)
        states = [_select(state, rows) for state in self.states]
        return StateCache(states, self.length, carried, pointer)

    def reorder_cache(self, beam_idx: Tensor) -> None:
        """Beam search keeps some beams and drops others."""
        if beam_idx.equal(torch.arange(len(self.states[0][0]), device=beam_idx.device)):
            return  # all stay where they are: nothing to copy
        chosen = self.select(beam_idx)
        self.states, self.carried, self.pointer = chosen.states, chosen.carried, chosen.pointer

    def batch_repeat_interleave(self, repeats: int) -> None:
        """Every row `repeats` times in place, for as many beams or samples."""
        batch = self.states[0][0].shape[0]
        self.reorder_cache(torch.arange(batch).repeat_interleave(repeats))

    def nbytes(self) -> int:
        """Bytes of all states."""
        return sum(part.nbytes for state in self.states for part in state)


def _select(state: Any, rows: Tensor) -> Any:
    return type(state)(*(part.index_select(0, rows.to(part.device)) for part in state))
