"""How the text of an image and a question about it are put to a language model: as a chat.

The tokens of ChatML, with the tokenizer's own special tokens: the text and any number of questions
are one user's turn, and the answer, which begins with the beginning token, is the next turn.
Special tokens are put in by number: their names on an image or in a question are text like any
other.
"""

from transformers import PreTrainedTokenizerFast

USER = "user\n"


def page_turn(tokenizer: PreTrainedTokenizerFast, text: list[int]) -> list[int]:
    """Tokens of the text of an image, as a turn that goes on with a question."""
    return [tokenizer.bos_token_id, *_plain(tokenizer, USER), *text, *_plain(tokenizer, "\n")]


def question_turn(tokenizer: PreTrainedTokenizerFast, question: list[int]) -> list[int]:
    """Tokens of a question after the text of an image, up to where the answer begins."""
    return [*question, tokenizer.eos_token_id, *_plain(tokenizer, "\n")]


def _plain(tokenizer: PreTrainedTokenizerFast, text: str) -> list[int]:
    tokens: list[int] = tokenizer(text, add_special_tokens=False).input_ids
    return tokens
