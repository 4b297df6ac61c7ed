"""Whose turn it is among the letters that were found."""

import pytest
import torch
from torch import Tensor

from encoders.pointer import MISSED, SKIPPED, begin, follow

VOCABULARY = 11


def looks(*letters: int, sure: float = 9.0) -> Tensor:
    """Logits `[1, n, V]` of tokens that show these letters."""
    names = torch.zeros(1, len(letters), VOCABULARY)
    names[0, torch.arange(len(letters)), torch.tensor(letters)] = sure
    return names


def turns(names: Tensor, *written: int) -> list[int]:
    """The likeliest turn after each letter written, 0 being a blank."""
    mask = torch.ones(names.shape[:2], dtype=torch.bool)
    letters = torch.tensor([written])
    found, _ = follow(begin(names, mask), letters, letters != 0)
    assert torch.allclose(found.sum(-1), torch.ones(1, len(written)))
    return [int(turn) for turn in found.argmax(-1)[0]]


def test_each_letter_written_is_the_turn_of_the_next() -> None:
    assert turns(looks(3, 4, 5), 3, 4, 5) == [1, 2, 3]


def test_blanks_move_nothing() -> None:
    assert turns(looks(3, 4, 5), 0, 3, 0, 0, 4, 5) == [0, 1, 1, 1, 2, 3]


def test_a_letter_that_was_not_found_does_not_shift_the_rest() -> None:
    assert turns(looks(3, 5, 6), 3, 9, 5, 6) == [1, 1, 2, 3]


def test_a_speck_that_was_found_does_not_shift_the_rest() -> None:
    assert turns(looks(3, 8, 4, 5), 3, 4, 5) == [1, 3, 4]
    assert turns(looks(8, 3, 4), 3, 4) == [2, 3]


def test_where_names_tell_nothing_letters_are_counted() -> None:
    assert turns(torch.zeros(1, 6, VOCABULARY), 3, 4, 0, 5, 6) == [1, 2, 2, 3, 4]


def naive(names: list[list[float]], written: list[int]) -> Tensor:
    """The weight of every way, by recursion: a letter takes a token or none, tokens are skipped."""
    count = len(names)

    def reached(step: int, place: int) -> float:
        ways = []
        if step == 0:
            return 2.718281828 ** (SKIPPED * place)
        for before in range(place + 1):  # before: how many were taken or skipped before this step
            over = 2.718281828 ** (SKIPPED * (place - before))
            ways.append(reached(step - 1, before) * 2.718281828**MISSED * over)
            if before < place:
                letter = 2.718281828 ** names[before][written[step - 1]]
                after = 2.718281828 ** (SKIPPED * (place - before - 1))
                ways.append(reached(step - 1, before) * letter * after)
        return sum(ways)

    weights = torch.tensor([reached(len(written), place) for place in range(count + 1)])
    return weights / weights.sum()


@pytest.mark.parametrize("seed", range(4))
def test_turns_are_the_sum_over_all_ways(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(2, 4, VOCABULARY, generator=generator)
    written = torch.randint(1, VOCABULARY, (2, 4), generator=generator)
    start = begin(logits, torch.ones(2, 4, dtype=torch.bool))
    found, _ = follow(start, written, torch.ones_like(written, dtype=torch.bool))
    for row in range(2):
        for step in range(4):
            expected = naive(start.names[row].tolist(), written[row, : step + 1].tolist())
            torch.testing.assert_close(found[row, step], expected, rtol=1e-3, atol=1e-5)


def test_padding_changes_nothing_and_steps_join() -> None:
    torch.manual_seed(0)
    logits, written = torch.randn(1, 5, VOCABULARY), torch.randint(0, VOCABULARY, (1, 7))
    mask = torch.ones(1, 5, dtype=torch.bool)
    whole, last = follow(begin(logits, mask), written, written != 0)
    wide = torch.cat([logits, torch.randn(1, 3, VOCABULARY)], 1)
    padded, _ = follow(begin(wide, torch.arange(8)[None] < 5), written, written != 0)
    torch.testing.assert_close(padded[..., :6], whole)
    assert not padded[..., 6:].any()
    pointer = begin(logits, mask)
    for step in range(7):
        letter = written[:, step : step + 1]
        one, pointer = follow(pointer, letter, letter != 0)
        torch.testing.assert_close(one[:, 0], whole[:, step])
    torch.testing.assert_close(pointer.reached.exp(), last.reached.exp())
