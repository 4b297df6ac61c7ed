"""A model that reads the print of images as text: the same answers however they are asked."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from networks import TINY
from printed_pages import PAGE, Print, make, printed
from tiny_language_models import save_byte_model
from torch import Tensor, nn

from vqa import checkpoint, transcriber
from vqa import tokenizer as tokenizers
from vqa.batch import collate, transcript_tokens
from vqa.model import build
from vqa.predictor import Predictor

TAGS = {
    "groups": {"kind": ["page", "scene"], "sees": ["dog", "cat"]},
    "several": ["sees"],
    "shown": {"page": [], "scene": ["sees"]},
}


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Predictor:
    """A predictor that reads print, with an OCR that reads coloured bars, and random tags."""
    monkeypatch.setattr(transcriber, "bundled_ocr", make)
    folder = save_byte_model(tmp_path / "language")
    config, tokenizer = checkpoint.language_config(folder), tokenizers.load(folder)
    words = {"language_model": config, "transcript": True, "tags": TAGS, "answer_tokens": 4}
    network = replace(TINY, question="decoder", **words)
    whole = build(network, tokenizer)
    whole.decoder.load(str(folder))
    assert whole.tagger is not None
    nn.init.normal_(whole.tagger.heads[1].bias, 2.0)
    return Predictor(whole, tokenizer)


def numpy_of(image: Tensor) -> Any:
    return image.permute(1, 2, 0).numpy()


FIRST, SECOND = printed(256, 512, *PAGE), printed(192, 256, Print(20, 60, "BAAB"))


def test_batches_and_kept_images_answer_what_single_ones_do(
    reads: Predictor, tmp_path: Path
) -> None:
    images, questions = [numpy_of(FIRST), numpy_of(SECOND)], ["what?", "how much is it in all?"]
    single = [reads.ask(i, q, top_k=1) for i, q in zip(images, questions, strict=True)]
    together = reads.ask_many(images, [0, 1], questions, top_k=1)
    for one, other in zip(single, together, strict=True):
        assert one.answer == other.answer
        assert one.score == pytest.approx(other.score, abs=1e-5)
    kept = reads.encode(images[0])
    kept.save(tmp_path / "image.safetensors")
    again = reads.load_encoded(tmp_path / "image.safetensors")
    assert again.words == kept.words and [word.text for word in kept.words][:2] == ["ABBA", "AB"]
    for encoded in (kept, again):
        answer = reads.ask(encoded, questions[0], top_k=1, evidence=True)
        assert (answer.answer, answer.score) == (single[0].answer, single[0].score)
        assert answer.evidence is not None and answer.evidence.box is None  # not printed


def test_ask_many_reports_the_rotation_of_each_page(reads: Predictor) -> None:
    page = printed(256, 512, *PAGE)
    images = [numpy_of(page), numpy_of(torch.rot90(page, 1, (1, 2)))]
    together = reads.ask_many(images, [0, 1], ["what?"] * 2, top_k=1)
    alone = [reads.ask(image, "what?", top_k=1) for image in images]
    assert [answer.rotation for answer in together] == [answer.rotation for answer in alone]
    assert together[0].rotation == 0 and abs(together[1].rotation) == pytest.approx(90, abs=2)


def test_a_letter_far_before_the_window_counts(reads: Predictor) -> None:
    model, tokenizer = reads.model, reads.tokenizer
    texts = ["A" + "lorem ipsum\n" * 60, "B" + "lorem ipsum\n" * 60]
    image = model.vision.map(model.vision.features([FIRST, FIRST]))
    tokens, mask = transcript_tokens(texts, tokenizer)
    with torch.inference_mode():
        cache = model.encode(image, tokens, mask)
    first, second = cache.states[-1].u
    assert not torch.allclose(first, second, atol=1e-6)
    assert int(cache.states[0].length[0]) == int(mask[0].sum()) > 700


def test_padded_transcripts_change_nothing(reads: Predictor) -> None:
    model, tokenizer = reads.model, reads.tokenizer
    image = model.vision.map(model.vision.features([FIRST, SECOND]))
    batch = collate([], [0, 1], ["a?", "and what else?"], tokenizer, chat=True)
    words = batch.question, batch.question_mask, torch.tensor([0, 1])
    start = torch.tensor([[1], [1]])
    with torch.inference_mode():
        both = model.read(image, *words, *transcript_tokens(["short", "longer\nby far"], tokenizer))
        logits = model(start, cache=both).logits
        for row, text in enumerate(["short", "longer\nby far"]):
            length = int(batch.question_mask[row].sum())
            asked = [part[row : row + 1, :length] for part in words[:2]]
            alone = image.rows([row]).cut()
            cache = model.read(alone, *asked, None, *transcript_tokens([text], tokenizer))
            torch.testing.assert_close(
                model(start[:1], cache=cache).logits[0], logits[row], atol=1e-4, rtol=1e-4
            )


def test_special_tokens_on_an_image_or_in_a_question_are_letters(reads: Predictor) -> None:
    tokenizer = reads.tokenizer
    tokens, mask = transcript_tokens(["<eos><bos>"], tokenizer)
    special = torch.isin(tokens, torch.tensor(tokenizer.all_special_ids))
    assert special[mask].tolist() == [True] + [False] * (int(mask.sum()) - 1)
    asked = collate([], [0], ["<eos>?"], tokenizer, chat=True).question[0]
    special = torch.isin(asked, torch.tensor(tokenizer.all_special_ids))
    assert special.sum() == 1 and tokenizer.decode(asked[special]) == "<eos>"


def test_text_of_a_photo_has_tags_and_of_a_page_none(reads: Predictor) -> None:
    tagger, features = reads.model.tagger, reads.model.vision.features([SECOND])
    assert tagger is not None and reads.transcriber is not None
    nn.init.constant_(tagger.heads[0].bias, 0)
    tagger.heads[0].bias.data[1] = 9
    text = reads.transcriber([SECOND], features)[0].text
    assert text.startswith("BAAB\nsees: ") and "%" in text
    tagger.heads[0].bias.data[0] = 99
    assert reads.transcriber([SECOND], features)[0].text == "BAAB"


def test_features_are_refused_where_print_is_to_be_read(reads: Predictor, tmp_path: Path) -> None:
    from vqa.features import Features

    batch = collate([FIRST], [0], ["what?"], reads.tokenizer, chat=True)
    kept = Features.of(reads.model, tmp_path / "features")
    with pytest.raises(ValueError, match="leave the features out"):
        reads.answer(batch, features=kept)
