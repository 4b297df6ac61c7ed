"""Text to tokens: a byte-level BPE trained on the data set, or a Hugging Face tokenizer."""

import json
from collections.abc import Iterable
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast
from transformers.convert_slow_tokenizer import bytes_to_unicode

SPECIAL = {"pad_token": "<pad>", "bos_token": "<bos>", "eos_token": "<eos>"}
BYTES = 256 + len(SPECIAL)
"""Tokens of a vocabulary of letters alone."""


def train(
    texts: Iterable[str], vocabulary: int = 1024, lowercase: bool = False
) -> PreTrainedTokenizerFast:
    """A byte-level BPE of at most `vocabulary` tokens; every text can be written with it.

    A space is put before each text, so that a word is the same token alone and inside a sentence.
    With `lowercase`, texts are read and written in small letters.
    With `vocabulary` at most BYTES every token is a byte, and no text is asked for.
    """
    if vocabulary <= BYTES:
        texts = ()
    tokenizer = Tokenizer(models.BPE())
    if lowercase:
        tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=list(SPECIAL.values()),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    # Each text once and in order: the result depends on the data set only.
    tokenizer.train_from_iterator(sorted(set(texts)), trainer)
    return from_json(tokenizer.to_str())


def to_json(tokenizer: PreTrainedTokenizerFast) -> str:
    """`tokenizer.json` and which special tokens it has: what checkpoints keep of a tokenizer.

    Padding and truncation, which an earlier call may have set, are no part of it.
    """
    content = json.loads(tokenizer.backend_tokenizer.to_str())
    special = {name: getattr(tokenizer, name) for name in SPECIAL}
    content |= {"padding": None, "truncation": None, "special_tokens": special}
    return json.dumps(content, ensure_ascii=False)


def from_json(text: str) -> PreTrainedTokenizerFast:
    """The tokenizer that `to_json` wrote, or whose `tokenizer.json` is `text`."""
    content = json.loads(text)
    special = content.pop("special_tokens", {})
    backend = Tokenizer.from_str(json.dumps(content))
    return with_specials(PreTrainedTokenizerFast(tokenizer_object=backend, **special))


def load(folder: str | Path) -> PreTrainedTokenizerFast:
    """The tokenizer saved in `folder`, with the special tokens an answer needs.

    Raises ValueError where the folder has no fast tokenizer (tokenizer.json).
    """
    if not (Path(folder) / "tokenizer.json").is_file():
        raise ValueError(f"no tokenizer.json in {folder}: not a tokenizer folder")
    try:
        tokenizer = PreTrainedTokenizerFast.from_pretrained(str(folder), local_files_only=True)
    except Exception as error:  # the library raises bare Exceptions; to the user they are one
        raise ValueError(f"the tokenizer in {folder} cannot be read: {error}") from None
    return with_specials(tokenizer)


def with_specials(tokenizer: PreTrainedTokenizerFast) -> PreTrainedTokenizerFast:
    """`tokenizer` with a padding, a beginning and an end token; those it has stay.

    In a question or an answer their names are text like any other: "<eos>" ends nothing.
    """
    missing = {name: text for name, text in SPECIAL.items() if getattr(tokenizer, name) is None}
    tokenizer.add_special_tokens(missing)
    tokenizer.split_special_tokens = True
    return tokenizer


def letters(tokenizer: PreTrainedTokenizerFast) -> list[bool]:
    """Which tokens stand for something printed: no blanks, no special tokens, and of a letter of
    several bytes the first alone."""
    bytes_of = {letter: byte for byte, letter in bytes_to_unicode().items()}

    def prints(number: int) -> bool:
        if number in tokenizer.all_special_ids:
            return False
        token = tokenizer.convert_ids_to_tokens(number)
        first = bytes_of.get(token[0], 0) if len(token) == 1 else 0
        return not 0x80 <= first < 0xC0 and bool(tokenizer.decode([number]).strip())

    return [prints(number) for number in range(len(tokenizer))]


def decode(tokenizer: PreTrainedTokenizerFast, tokens: list[int]) -> str:
    """The text of answer tokens, without special tokens and the space before it."""
    text = tokenizer.decode(tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False)
    return str(text).strip()
