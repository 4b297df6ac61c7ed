"""A network that finds before it reads: image, question and answer, on tokens given as they are."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from networks import BOS, EOS, TINY
from torch import Tensor, nn
from torch.nn.functional import one_hot

from encoders.runs import HOLDS, UNKNOWN, likeliest_run
from encoders.tiling import Grid
from encoders.vision.sheet import ImageTokens
from vqa import evidence_reading, finding
from vqa.batch import Batch
from vqa.config import LatteVQAConfig, Network, Vision
from vqa.model import LatteVQA

VOCABULARY = 12
FINDING = replace(
    TINY,
    vision=Vision(encoder="glyphs", glyph_args={"local": 1, "kernel": 3}),
    find=True,
    carry=True,
    question_depth=1,
    kernel=3,
    answer_tokens=6,
)


def model_of(seed: int = 0, **words: Any) -> LatteVQA:
    torch.manual_seed(seed)
    network = replace(FINDING, **words)
    return LatteVQA(LatteVQAConfig(network, VOCABULARY, BOS, EOS)).eval()


def tokens_of(*lengths: int, seed: int = 0) -> ImageTokens:
    """What the encoder's map would give of images with so many letters, on one line each."""
    generator = torch.Generator().manual_seed(seed)
    mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    tokens = torch.randn(len(lengths), max(lengths), TINY.dim, generator=generator)
    places = torch.stack([torch.zeros(max(lengths)), torch.arange(max(lengths)) * 2.0], 1)
    pitch = torch.full((len(lengths), 2), 0.01)
    grids: list[tuple[Grid, ...]] = [(Grid(1, length),) for length in lengths]
    places = places.repeat(len(lengths), 1, 1)
    return ImageTokens(tokens * mask[..., None], mask, grids, places, pitch)


def asked(rows: int, seed: int = 1) -> tuple[Tensor, Tensor]:
    question = torch.randint(
        3, VOCABULARY, (rows, 5), generator=torch.Generator().manual_seed(seed)
    )
    mask = torch.arange(5) < torch.tensor([5, 3, 1, 4])[:rows, None]
    return question, mask


def test_word_by_word_is_all_at_once() -> None:
    """What is handed to the n-th word stands at the n-th word, however the words come."""
    model, image = model_of(), tokens_of(9, 4)
    answer = torch.randint(3, VOCABULARY, (2, 7), generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        cache = model.read(image.with_room(0), *asked(2))
        whole = model(answer, cache=cache).logits
        for place in range(7):
            out = model(answer[:, place : place + 1], cache=cache)
            cache = out.cache
            torch.testing.assert_close(out.logits[:, 0], whole[:, place], rtol=0, atol=2e-5)


def test_each_row_is_as_if_alone_and_questions_share_an_image() -> None:
    model, image = model_of(), tokens_of(9, 4, 1)
    question, mask = asked(4)
    index = torch.tensor([0, 2, 1, 0])
    answer = torch.full((4, 3), BOS)
    with torch.no_grad():
        cache = model.read(image.with_room(0), question, mask, index)
        together = model(answer, cache=cache).logits
        for row, number in enumerate(index.tolist()):
            length = int(image.mask[number].sum())
            one = image.rows([number])
            one = one._replace(
                tokens=one.tokens[:, :length],
                mask=one.mask[:, :length],
                places=one.places[:, :length],
            )
            count = int(mask[row].sum())
            cache = model.read(one, question[row : row + 1, :count], mask[row : row + 1, :count])
            alone = model(answer[:1], cache=cache).logits
            torch.testing.assert_close(alone[0], together[row], rtol=0, atol=2e-5)


def test_what_is_said_of_the_next_token_is_its_log_probability() -> None:
    model, image = model_of(), tokens_of(9, 4, 1)
    with torch.no_grad():
        cache = model.read(image.with_room(0), *asked(3))
        logits = model(torch.full((3, 4), 5), cache=cache).logits
    torch.testing.assert_close(logits.exp().sum(-1), torch.ones(3, 4), rtol=0, atol=1e-5)


class Named(nn.Module):
    """A token shows what its first channel says."""

    def forward(self, tokens: Tensor) -> Tensor:
        which = tokens[..., 0].round().long().clamp(0, VOCABULARY - 1)
        return 20.0 * one_hot(which, VOCABULARY)


def test_what_is_found_is_copied_letter_by_letter_and_ends() -> None:
    """With the gate open, of images with as many letters as they have."""
    model, said = model_of(), [[4, 7, 4, 9], [5], [8, 3]]
    assert model.finder is not None and model.letters is not None
    model.letters[:3] = False
    model.finder.name = Named()  # type: ignore[assignment]
    finder = model.finder
    for part, bias in ((finder.copies, 20.0), (finder.mark, 1.0), (finder.edge, 0.0)):
        nn.init.zeros_(part.weight)
        nn.init.constant_(part.bias, bias)
    image = tokens_of(*map(len, said))
    for row, letters in enumerate(said):
        image.tokens[row, : len(letters), 0] = torch.tensor(letters).float()
    with torch.no_grad():
        cache = model.read(image.with_room(0), *asked(3))
        written = model.generate(cache, num_beams=1)[:, 1:]
    for row, letters in enumerate(said):
        assert written[row, : len(letters) + 1].tolist() == [*letters, EOS]


@pytest.mark.parametrize("mark", (0, 1, UNKNOWN))
def test_marks_say_what_is_read(mark: int) -> None:
    model, image = model_of(), tokens_of(6, 3)
    question, mask = asked(2)
    marks = torch.full((2, 6), mark)
    with torch.no_grad():
        result = finding.find(model, image, question, mask, torch.arange(2), marks)
    found = result.memory
    read = [int(row[: result.sure.shape[1]].sum()) for row in found.mask]
    likely = [int(n) for n in likeliest_run(result.logits, result.edges, image.mask).sum(1)]
    assert read == {0: [0, 0], 1: [6, 3], UNKNOWN: likely}[mark]
    assert [grid.columns for (grid,) in found.grids] == read
    assert found.tokens.isfinite().all()


def test_generating_writes_at_most_the_networks_length_and_searches() -> None:
    model, image = model_of(), tokens_of(8, 5)
    with torch.no_grad():
        cache = model.read(image.with_room(0), *asked(2))
        greedy = model.generate(cache, num_beams=1)
        beams = model.generate(cache, num_beams=4, num_return_sequences=4, length_penalty=0.0)
    assert greedy.shape[1] <= 1 + FINDING.answer_tokens and len(beams) == 8
    best = model.score(cache.select(torch.tensor([0, 0, 0, 0])), beams[:4])
    assert float(best[0]) >= float(model.score(cache.select(torch.tensor([0])), greedy[:1])) - 1e-4


def test_evidence_is_what_was_marked() -> None:
    model, image = model_of(seed=3), tokens_of(8)
    assert model.finder is not None
    question, mask = asked(1)
    batch = Batch([], torch.zeros(1, dtype=torch.long), question, mask)
    with torch.no_grad():
        found_now = finding.find(model, image, question, mask, torch.arange(1))
        model.finder.mark.bias.sub_(found_now.logits.median())
        read = evidence_reading.read(model, image.with_room(0), batch)
        cache = model.read(image.with_room(0), question, mask)
        found = evidence_reading.relevance(model, read, batch)
        again = finding.find(model, image, question, mask, torch.arange(1))
    for one, other in zip(read.cache.states, cache.states, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
    assert read.cache.carried is not None and cache.carried is not None
    assert torch.equal(read.cache.carried, cache.carried)
    chosen = likeliest_run(again.logits, again.edges, image.mask)[0]
    assert 0 < int(chosen.sum()) < 8
    count = int(chosen.sum())
    assert read.memory.places[0, :count].tolist() == image.places[0, chosen].tolist()
    expected = again.logits.sigmoid()[0, chosen]
    torch.testing.assert_close(found.patches[0, :count], expected / expected.sum())
    assert float(found.patches.sum()) == pytest.approx(1) and not found.words.any()


@pytest.mark.slow
def test_it_learns_to_copy_what_it_is_asked_for() -> None:
    """Two lines of letters; the question names the line, the answer is what stands on it."""
    torch.manual_seed(0)
    network = replace(
        FINDING, dim=64, latents=32, decoder_args={"gain": 1.0}, decoder_mixer="latte"
    )
    model = LatteVQA(LatteVQAConfig(network, VOCABULARY, BOS, EOS)).train()
    looks = torch.randn(9, 64)
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)

    def batch(seed: int) -> tuple[ImageTokens, Tensor, Tensor, Tensor]:
        generator = torch.Generator().manual_seed(seed)
        letters = torch.randint(3, VOCABULARY, (32, 8), generator=generator)
        line = torch.randint(0, 2, (32,), generator=generator)
        image = tokens_of(*[8] * 32, seed=seed)
        places = torch.stack([torch.arange(8) // 4 * 4.0, torch.arange(8) % 4 * 2.0], 1)
        shown = looks[letters - 3].clone()
        shown[:, 4:, :8] += 3  # the lower line
        image = image._replace(tokens=shown, places=places.repeat(32, 1, 1))
        held = torch.arange(8) // 4 == line[:, None]
        marks = (letters + 1 + HOLDS) * held
        answer = letters[held].view(32, 4)
        return image, line[:, None] + 3, marks, answer

    for step in range(250):
        image, question, marks, answer = batch(step)
        start = torch.full((32, 1), BOS)
        end = torch.full((32, 1), EOS)
        out = model(
            torch.cat([start, answer], 1),
            labels=torch.cat([answer, end], 1),
            images=image,
            question=question,
            question_mask=torch.ones_like(question, dtype=torch.bool),
            marks=marks,
        )
        optimizer.zero_grad()
        out.loss.backward()
        optimizer.step()
    model.eval()
    image, question, _, answer = batch(10_000)
    with torch.no_grad():
        cache = model.read(image, question, torch.ones_like(question, dtype=torch.bool))
        written = model.generate(cache, num_beams=1, max_new_tokens=4)[:, 1:]
    assert float((written == answer).all(1).float().mean()) > 0.9


@pytest.mark.parametrize(
    ("words", "reason"),
    (
        ({"find": True, "question": "decoder"}, "find is for a question in the encoder"),
        ({"carry": True}, "carry is for a question in the decoder"),
        ({"kernel": 4}, "kernel must be odd, not 4"),
    ),
)
def test_what_does_not_go_together(words: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        Network(**words)
