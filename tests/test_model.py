"""The laws of the whole network, for every mixer and every way to read and remember."""

from typing import Any

import pytest
import torch
from networks import EOS, IMAGES, MASK, QUESTION, WAYS, ints, make, noise, read
from torch import Tensor
from torch.nn.functional import log_softmax

from vqa.batch import IGNORE
from vqa.cache import StateCache
from vqa.config import Network
from vqa.model import LatteVQA, build

close = torch.testing.assert_close


@pytest.fixture(scope="module", params=WAYS, ids="-".join)
def model(request: pytest.FixtureRequest) -> LatteVQA:
    """Each combination of mixer, place of the question and kind of memory."""
    return make(*request.param)


@torch.no_grad()
def test_a_padded_mixed_reordered_batch_is_each_alone(model: LatteVQA) -> None:
    answer, order = ints(3, 5), [2, 0, 1]
    images = [IMAGES[index] for index in order]
    words = {"question": QUESTION[order], "question_mask": MASK[order]}
    batch = model(answer[order], images=images, **words).logits
    for place, index in enumerate(order):
        real = MASK[index, None]
        words = {"question": QUESTION[index, None][real][None], "question_mask": real[real][None]}
        single = model(answer[index, None], images=[IMAGES[index]], **words).logits
        close(batch[place], single[0], rtol=0, atol=1e-5)


@torch.no_grad()
def test_image_and_question_both_matter(model: LatteVQA) -> None:
    answer, words = ints(1, 3), {"question": QUESTION[:1], "question_mask": MASK[:1]}
    usual = model(answer, images=IMAGES[:1], **words).logits
    darker = model(answer, images=[IMAGES[0] // 2], **words).logits
    other = model(answer, images=IMAGES[:1], **(words | {"question": QUESTION[2:]})).logits
    assert (usual - darker).abs().max() > 1e-3
    assert (usual - other).abs().max() > 1e-3


@torch.no_grad()
def test_all_tokens_at_once_is_token_by_token(model: LatteVQA) -> None:
    answer, cache = ints(3, 7), read(model)
    whole = model(answer, cache=cache)
    after = cache
    for index in range(7):
        out = model(answer[:, index, None], cache=after)
        after = out.cache
        close(out.logits[:, 0], whole.logits[:, index], rtol=0, atol=1e-5)
        assert after.get_seq_length() == index + 1
    parts = model(answer[:, 3:], cache=model(answer[:, :3], cache=cache)[1])
    close(parts.logits, whole.logits[:, 3:], rtol=0, atol=1e-5)


@torch.no_grad()
def test_questions_about_one_image_are_separate_copies(model: LatteVQA) -> None:
    index = torch.tensor([1, 0, 1])
    shared = model.read(IMAGES[:2], QUESTION, MASK, index)
    copies = model.read([IMAGES[1], IMAGES[0], IMAGES[1]], QUESTION, MASK)
    answer = ints(3, 4)
    one, other = (model(answer, cache=cache).logits for cache in (shared, copies))
    close(one, other, rtol=0, atol=1e-5)


def states_of(cache: StateCache) -> list[Tensor]:
    return [part for state in cache.states for part in state]


@torch.no_grad()
@pytest.mark.parametrize("memory", ("state", "sequence"))
@pytest.mark.parametrize("question", ("decoder", "carried"))
def test_an_image_read_once_takes_questions_later(question: str, memory: str) -> None:
    """question=decoder: the image's own state, kept, and continued by one question at a time."""
    model = make(question=question, memory=memory)
    image = model.vision(IMAGES[:1])
    memory_ = model.encoder(image.tokens, image.mask, image.grids, image.places)
    kept = model.take_in(memory_, image.mask, image.places)
    answer, joint = ints(3, 4), model.read(IMAGES[:1], QUESTION, MASK, torch.zeros(3).long())
    expected = model(answer, cache=joint).logits
    for index, mask in enumerate(MASK):
        later = model.asked(kept, QUESTION[index][mask][None], mask[mask][None])
        got = model(answer[index, None], cache=later).logits
        close(got[0], expected[index], rtol=0, atol=1e-5)


@pytest.mark.parametrize("question", ("encoder", "decoder"))
def test_each_image_is_encoded_once(question: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, seen = make(question=question), []
    model.vision.register_forward_pre_hook(lambda _, images: seen.append(len(images[0])))
    model.read(IMAGES[:2], QUESTION, MASK, torch.tensor([1, 0, 1]))
    assert seen == [2]


@torch.no_grad()
@pytest.mark.parametrize("question", ("encoder", "decoder"))
def test_a_latte_state_does_not_grow_with_the_image(question: str) -> None:
    def size(mixer: str, *image: int) -> int:
        model = make(mixer, question)
        return model.read([noise(*image)], QUESTION[:1], MASK[:1]).nbytes()

    small, large = (16, 16), (200, 300)
    assert size("latte", *small) == size("latte", *large)
    assert size("attention", *large) > 5 * size("attention", *small)
    assert size("macchiato", *small) == size("macchiato", *large)
    # 2 layers of u [2 heads, 4 latents, 8 channels], z [2 heads, 4 latents] and a place, fp32
    assert size("latte", *small) == 2 * (2 * 4 * 8 + 2 * 4 + 1) * 4


@torch.no_grad()
@pytest.mark.parametrize("memory", ("state", "sequence"))
def test_answers_bear_what_the_question_has_read(memory: str) -> None:
    """carry=True: the naive sum over what each word has read, one by one, on each answer token."""
    model = make(question="carried", memory=memory)
    answer, image = ints(1, 4), model.encode(IMAGES[1:2])
    assert model.carry is not None and isinstance(image, StateCache)
    states, read = image.states, []
    for token in QUESTION[0][MASK[0]]:
        word = model._words(token.view(1, 1), 0, len(read)).squeeze(1)
        hidden, states = model.decoder.step(word, states)
        read.append(hidden)
    born = model.carry(sum(read)) / len(read) ** 0.5
    words = model._words(answer, 1) + born.unsqueeze(1)
    expected = model.text.logits(model.decoder.scan(words, None, states)[0])
    got = model(answer, images=IMAGES[1:2], question=QUESTION[:1], question_mask=MASK[:1]).logits
    close(got, expected, rtol=0, atol=1e-5)


def test_a_wrong_word_for_carry_is_refused() -> None:
    with pytest.raises(ValueError, match="set question to decoder"):
        Network(carry=True)


OPTIONS: dict[str, dict[str, Any]] = {
    "latte": {"vapor": True, "recurrence": "rglru"},
    "macchiato": {"vapor": True, "window": 3, "radius": 1, "recurrence": "conv"},
    "attention": {"rotary": True},
}


@torch.no_grad()
@pytest.mark.parametrize("question", ("encoder", "decoder"))
@pytest.mark.parametrize("mixer", OPTIONS)
def test_laws_hold_with_every_option_of_a_mixer(mixer: str, question: str) -> None:
    model = make(mixer, question, mixer_args=OPTIONS[mixer])
    test_a_padded_mixed_reordered_batch_is_each_alone(model)
    test_all_tokens_at_once_is_token_by_token(model)
    test_questions_about_one_image_are_separate_copies(model)


@torch.no_grad()
@pytest.mark.parametrize("question", ("encoder", "decoder"))
@pytest.mark.parametrize("pair", [("latte", "macchiato"), ("attention", "latte")], ids="-".join)
def test_laws_hold_with_another_mixer_in_the_decoder(pair: tuple[str, str], question: str) -> None:
    own = {"window": 3} if pair[1] == "macchiato" else {}
    model = make(pair[0], question, decoder_mixer=pair[1], decoder_args=own)
    kinds = [type(stack.blocks[0].mixer).__module__ for stack in (model.encoder, model.decoder)]
    assert [kind.rsplit(".", 1)[1] for kind in kinds] == list(pair)
    test_a_padded_mixed_reordered_batch_is_each_alone(model)
    test_all_tokens_at_once_is_token_by_token(model)
    test_questions_about_one_image_are_separate_copies(model)
    small, large = (model.read([noise(*s)], QUESTION[:1], MASK[:1]) for s in ((16, 16), (99, 300)))
    assert small.nbytes() == large.nbytes()  # it is the decoder that keeps them


def test_words_for_a_decoder_that_is_not_there() -> None:
    with pytest.raises(ValueError, match="decoder_args are for a decoder_mixer"):
        make(decoder_args={"window": 3})


@torch.no_grad()
@pytest.mark.parametrize("question", ("encoder", "decoder"))
def test_places_count_on_over_image_question_and_answer(question: str) -> None:
    model = make("latte", question, mixer_args={"vapor": True})
    cache = read(model)
    # Patches of 16 px: the largest row or column of each image, then the question's tokens.
    after = torch.tensor([4.0 + 4, 7.0 + 1, 3.0 + 6])
    assert all(torch.equal(state.next, after) for state in cache.states)
    answered = model(ints(3, 2), cache=cache).cache
    assert all(torch.equal(state.next, after + 2) for state in answered.states)


def test_loss_is_the_mean_over_the_tokens_that_count(model: LatteVQA) -> None:
    answer, labels = ints(3, 4), ints(4, 3).T.clone()
    labels[0, 2:], labels[2] = IGNORE, IGNORE
    words: dict[str, Any] = {"images": IMAGES, "question": QUESTION, "question_mask": MASK}
    out = model(answer, labels=labels, **words)
    chosen = log_softmax(model(answer, **words).logits, -1)
    told = [
        -chosen[row, place, labels[row, place]]
        for row in range(3)
        for place in range(4)
        if labels[row, place] != IGNORE
    ]
    assert len(told) == 6
    close(out.loss, torch.stack(told).mean())
    assert model(answer, **words).loss is None


def test_the_loss_teaches_every_parameter(model: LatteVQA) -> None:
    model.zero_grad()
    images = [noise(64, 64), noise(70, 80)]  # the second has an overview
    words = {"question": QUESTION[:2], "question_mask": MASK[:2]}
    model(ints(2, 4), labels=ints(2, 4), images=images, **words).loss.backward()
    for name, weight in model.named_parameters():
        assert weight.grad is not None and weight.grad.isfinite().all(), name
        assert weight.grad.any() or name == "vision.vit.blocks.0.attn.qkv.bias", name


@torch.no_grad()
def test_score_counts_up_to_the_end_token(model: LatteVQA) -> None:
    cache, tail = read(model), ints(3, 4)
    tail[0, 1], tail[1, 3] = EOS, EOS
    sequences = torch.cat([torch.full((3, 1), 1), tail], 1)
    chosen = model(sequences[:, :-1], cache=cache).logits.log_softmax(-1)
    expected = [
        sum(chosen[row, place, tail[row, place]] for place in range(length))
        for row, length in enumerate((2, 4, 4))
    ]
    close(model.score(cache, sequences), torch.stack(expected))


@torch.no_grad()
def test_a_cache_is_selected_repeated_and_reordered_by_rows(model: LatteVQA) -> None:
    cache = read(model)
    rows = torch.tensor([0, 0, 1, 1, 2, 2])
    expected = [part[rows] for part in states_of(cache)]
    repeated = read(model)
    repeated.batch_repeat_interleave(2)
    reordered = read(model)
    reordered.reorder_cache(rows)
    for other in (cache.select(rows), repeated, reordered):
        assert all(map(torch.equal, states_of(other), expected))


def test_questions_without_an_image_number_are_refused() -> None:
    with pytest.raises(ValueError, match="3 questions but 2 image numbers"):
        make().read(IMAGES[:2], QUESTION, MASK)


@pytest.mark.parametrize(
    ("words", "told"),
    (
        ({"dim": 30}, "dim 30.*heads 6"),
        ({"dim": 32}, "dim 32.*heads 6"),
        ({"question": "nowhere"}, "question.*'nowhere'"),
        ({"memory": "none"}, "memory.*'none'"),
        ({"mixer": "nope"}, "'nope'.*attention, latte, macchiato"),
    ),
    ids=("dim-4", "dim-heads", "question", "memory", "mixer"),
)
def test_words_that_make_no_network_are_refused(words: dict[str, Any], told: str) -> None:
    class Words:
        bos_token_id, eos_token_id, pad_token_id = 1, 2, 0

        def __len__(self) -> int:
            return 12

    with pytest.raises(ValueError, match=told):
        build(Network(**words), Words())
