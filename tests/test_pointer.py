"""Whose turn it is among the letters that were found, and how they are copied."""

import math

import pytest
import torch
from torch import Tensor

from encoders.pointer import MISSED, SKIPPED, begin, copied, follow

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


# What is copied

END = 2


def mixed(seed: int, rows: int = 2, steps: int = 3, count: int = 4) -> tuple[Tensor, ...]:
    """Logits, gate, turns and names, all at random; the last row has a token less."""
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(rows, steps, VOCABULARY, generator=generator)
    gate = 2 * torch.randn(rows, steps, 1, generator=generator)
    mask = torch.ones(rows, count, dtype=torch.bool)
    mask[-1, -1] = False
    found = 3 * torch.randn(rows, count, VOCABULARY, generator=generator)
    pointer = begin(found, mask)
    written = torch.randint(0, VOCABULARY, (rows, steps), generator=generator)
    return logits, gate, follow(pointer, written, written != 0)[0], pointer.names


@pytest.mark.parametrize("seed", range(3))
def test_a_letter_is_written_freely_or_copied_from_whose_turn_it_is(seed: int) -> None:
    logits, gate, whose, names = mixed(seed)
    found = copied(logits, gate, whose, names, END)
    assert found.shape == logits.shape
    for row in range(2):
        for step in range(3):
            weights = [math.exp(value) for value in logits[row, step].tolist()]
            copying = 1 / (1 + math.exp(-float(gate[row, step])))
            for token in range(VOCABULARY):
                chance = (1 - copying) * weights[token] / sum(weights)
                count = 4 - row  # the last row has a token less
                for turn in range(count):
                    shown = math.exp(float(names[row, turn, token]))
                    chance += copying * float(whose[row, step, turn]) * shown
                if token == END:  # nobody's turn
                    chance += copying * float(whose[row, step, count])
                assert math.exp(float(found[row, step, token])) == pytest.approx(chance, rel=1e-4)


def test_a_row_that_is_padded_is_as_if_alone() -> None:
    logits, gate, whose, names = mixed(7)
    alone = copied(logits[1:], gate[1:], whose[1:, :, :4], names[1:, :3], END)
    torch.testing.assert_close(copied(logits, gate, whose, names, END)[1:], alone)


@pytest.mark.parametrize("dtype", (torch.float32, torch.bfloat16))
def test_of_all_tokens_the_chances_are_one(dtype: torch.dtype) -> None:
    logits, gate, whose, names = mixed(5, rows=3, steps=6, count=9)
    found = copied(logits.to(dtype), gate.to(dtype), whose, names, END)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.exp().sum(-1), torch.ones(3, 6), rtol=0, atol=1e-4)


def test_what_was_found_is_copied_to_its_end() -> None:
    """With the gate open, whatever would be written freely."""
    names = begin(looks(3, 5, 4), torch.ones(1, 3, dtype=torch.bool))
    written = torch.tensor([[0, 3, 0, 5, 4]])
    whose, _ = follow(names, written, written != 0)
    free = 9 * torch.eye(VOCABULARY)[7].expand(1, 5, -1)
    found = copied(free, torch.full((1, 5, 1), 20.0), whose, names.names, END)
    assert found.argmax(-1).tolist() == [[3, 5, 5, 4, END]]
    assert float(found[0, -1, END].exp()) > 0.9
    closed = copied(free, torch.full((1, 5, 1), -20.0), whose, names.names, END)
    torch.testing.assert_close(closed, free.log_softmax(-1), rtol=0, atol=1e-4)


def test_where_nothing_was_found_copying_is_ending() -> None:
    pointer = begin(torch.zeros(1, 2, VOCABULARY), torch.zeros(1, 2, dtype=torch.bool))
    written = torch.tensor([[4, 5]])
    whose, _ = follow(pointer, written, written != 0)
    found = copied(torch.zeros(1, 2, VOCABULARY), torch.full((1, 2, 1), 3.0), whose,
                   pointer.names, END)  # fmt: skip
    share = torch.sigmoid(torch.tensor(3.0))
    expected = torch.full((VOCABULARY,), float((1 - share) / VOCABULARY))
    expected[END] += share
    torch.testing.assert_close(found.exp(), expected.expand(1, 2, -1), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("value", (-1e4, -100.0, 100.0, 1e4))
def test_however_sure_the_gate_is_nothing_is_infinite(value: float) -> None:
    logits, _, whose, names = mixed(1)
    logits[0, 0] *= 1e3
    logits.requires_grad_()
    gate = torch.full((2, 3, 1), value, requires_grad=True)
    found = copied(logits, gate, whose, names, END)
    assert found.isfinite().all()
    found[..., 4].sum().backward()
    assert logits.grad is not None and logits.grad.isfinite().all()
    assert gate.grad is not None and gate.grad.isfinite().all()


def test_the_gate_and_what_is_written_freely_learn() -> None:
    """The gate to copy where that tells the letter, and not to where it does not."""
    pointer = begin(looks(3, 5), torch.ones(1, 2, dtype=torch.bool))
    written = torch.tensor([[0, 3]])
    whose, _ = follow(pointer, written, written != 0)
    logits = torch.zeros(1, 2, VOCABULARY, requires_grad=True)
    gate = torch.zeros(1, 2, 1, requires_grad=True)
    found = copied(logits, gate, whose, pointer.names, END)
    (-found[0, 0, 3] - found[0, 1, 8]).backward()  # the first is found, an 8 is not
    assert gate.grad is not None and logits.grad is not None
    assert float(gate.grad[0, 0]) < -0.1 and float(gate.grad[0, 1]) > 0.1
    assert int(logits.grad[0, 0].argmin()) == 3 and int(logits.grad[0, 1].argmin()) == 8
    # What is copied explains the letter already: less is to learn freely.
    assert logits.grad[0, 0].abs().sum() < 0.5 * logits.grad[0, 1].abs().sum()


@pytest.mark.parametrize("seed", range(2))
def test_slopes_are_those_of_the_definition(seed: int) -> None:
    logits, gate, whose, names = (value.double() for value in mixed(seed))
    inputs = logits.requires_grad_(), gate.requires_grad_()

    def chance(logits: Tensor, gate: Tensor) -> Tensor:
        """In double precision, as `copied` itself counts in single."""
        free = (logits.log_softmax(-1) + torch.nn.functional.logsigmoid(-gate)).exp()
        said = whose[..., :-1] @ names.exp()
        said[..., END] += whose[..., -1]
        said[1, :, END] += whose[1, :, -2]
        return (free + said * gate.sigmoid()).log()

    found = copied(*inputs, whose.float(), names.float(), END)
    slopes = torch.autograd.grad(found[..., 3].sum(), inputs)
    expected = torch.autograd.grad(chance(*inputs)[..., 3].sum(), inputs)
    for one, other in zip(slopes, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-5)
