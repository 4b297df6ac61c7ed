"""Every text can be written and read back, and the same data makes the same tokens."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from vqa import tokenizer as tokenizers
from vqa.batch import IGNORE, collate
from vqa.tokenizer import decode, load, train, with_specials

WORDS = ["what color is the square?", "is there a red square?", "red", "green", "yes", "no"]
TEXTS = {
    "known": "is there a green square?",
    "unknown": "Zyzzyva 123,456.78",
    "spaces": "  two  spaces   three",
    "newlines": "one\ntwo\r\n\n\tthree",
    "accents": "naïve Ærøskøbing, e\u0301 is not é",
    "scripts": "日本語 العربية ελληνικά हिन्दी",
    "emoji": "👍🏽 👨\u200d👩\u200d👧 🇩🇰",
    "controls": "a\x00b\x7fc\u200b",
    "punctuation": "it 's, n't . ? ! do not 'clean' this up .",
    "special": "what do <eos>, <pad> and <bos> mean?",
    "empty": "",
}


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return train(WORDS, 300)


def numbers(tokenizer: PreTrainedTokenizerFast, text: str) -> list[int]:
    """The tokens that a model gets of `text`."""
    batch = collate([], [0], [text], tokenizer)
    return batch.question[batch.question_mask].tolist()


@pytest.mark.parametrize("name", TEXTS)
def test_every_text_comes_back(tokenizer: PreTrainedTokenizerFast, name: str) -> None:
    tokens = numbers(tokenizer, TEXTS[name])
    assert decode(tokenizer, tokens) == TEXTS[name].strip()
    assert not set(tokens) & set(tokenizer.all_special_ids)  # what people type is only text


def test_decode_leaves_special_tokens_out(tokenizer: PreTrainedTokenizerFast) -> None:
    ids = [tokenizer.bos_token_id, *numbers(tokenizer, "red"), tokenizer.eos_token_id, 0, 0]
    assert decode(tokenizer, ids) == "red"


def test_a_word_is_the_same_token_alone_and_in_a_sentence(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    (red,) = numbers(tokenizer, "red")
    assert red in numbers(tokenizer, "is there a red square?")


def test_small_letters_only() -> None:
    mixed, small = (train([*WORDS, "Yes", "NO"], 300, lowercase=way) for way in (False, True))
    assert numbers(mixed, "Yes") != numbers(mixed, "yes")
    assert numbers(small, "Yes") == numbers(small, "yes") == numbers(small, "YES")
    assert decode(small, numbers(small, "Is there a RED Square?")) == "is there a red square?"
    again = tokenizers.from_json(small.backend_tokenizer.to_str())
    assert numbers(again, "Yes") == numbers(small, "yes")


def test_training_depends_on_the_texts_only() -> None:
    one, other = train(WORDS, 290), train([*reversed(WORDS), WORDS[0], "no"], 290)
    assert one.backend_tokenizer.to_str() == other.backend_tokenizer.to_str()
    assert one.get_vocab() != train(["quite other words"], 290).get_vocab()


@pytest.mark.parametrize("size", (260, 264, 300))
def test_the_vocabulary_is_at_most_as_asked(size: int) -> None:
    tokenizer = train(WORDS, size)
    assert 259 <= len(tokenizer) <= size  # 256 bytes, 3 special tokens, and what was learnt
    assert max(tokenizer.get_vocab().values()) == len(tokenizer) - 1


def test_special_tokens_are_there(tokenizer: PreTrainedTokenizerFast) -> None:
    ids = [tokenizer.pad_token_id, tokenizer.bos_token_id, tokenizer.eos_token_id]
    assert ids == [0, 1, 2]
    assert numbers(tokenizer, "red") == numbers(tokenizer, "red")[:1]  # none put around a text


def test_special_tokens_are_added_where_missing_and_kept_where_not() -> None:
    words = {"red": 0, "green": 1, "</s>": 2}
    foreign = Tokenizer(models.WordLevel(words, unk_token="red"))
    foreign.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = with_specials(PreTrainedTokenizerFast(tokenizer_object=foreign, eos_token="</s>"))
    assert (tokenizer.eos_token, tokenizer.eos_token_id) == ("</s>", 2)
    assert {tokenizer.pad_token_id, tokenizer.bos_token_id} == {3, 4}
    assert len(tokenizer) == 5
    assert len(with_specials(tokenizer)) == 5


def test_a_saved_tokenizer_comes_back(tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    tokenizer.save_pretrained(tmp_path)
    for again in (load(tmp_path), tokenizers.from_json(tokenizer.backend_tokenizer.to_str())):
        assert again.get_vocab() == tokenizer.get_vocab()
        assert again.special_tokens_map == tokenizer.special_tokens_map
        for text in TEXTS.values():
            assert numbers(again, text) == numbers(tokenizer, text)
            assert decode(again, numbers(again, text)) == text.strip()


def test_a_folder_without_tokenizer_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"no tokenizer.json in {tmp_path}"):
        load(tmp_path)


def test_a_broken_tokenizer_is_named(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(ValueError, match=str(tmp_path)):
        load(tmp_path)


def test_answers_are_shifted_by_one_and_padding_is_ignored(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    batch = collate([], [0, 0], ["red", "is there?"], tokenizer, ["yes", "Quito"])
    assert batch.answer is not None and batch.labels is not None and len(batch) == 2
    yes, quito = numbers(tokenizer, "yes"), numbers(tokenizer, "Quito")
    rest = len(quito) - len(yes)
    assert batch.answer.tolist() == [[1, *yes, *[0] * rest], [1, *quito]]
    assert batch.labels.tolist() == [[*yes, 2, *[IGNORE] * rest], [*quito, 2]]
    assert batch.question_mask.sum(1).tolist() == [1, len(numbers(tokenizer, "is there?"))]


def test_a_vocabulary_of_bytes_asks_for_no_text() -> None:
    def texts() -> Iterator[str]:
        raise AssertionError("asked for a text")
        yield ""

    tokenizer = tokenizers.train(texts(), tokenizers.BYTES)
    assert len(tokenizer) == tokenizers.BYTES == 259
    row = tokenizer("RM 9é", add_special_tokens=False).input_ids
    assert len(row) == 7 and tokenizers.decode(tokenizer, row) == "RM 9é"
