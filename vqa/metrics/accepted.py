"""The accepted answers of one question, checked."""

from collections.abc import Sequence


def check_answers(answers: Sequence[str]) -> None:
    """Raises ValueError unless there is an accepted answer to compare a prediction with."""
    if isinstance(answers, str) or not answers:
        raise ValueError(f"answers must be a non-empty list of strings, not {answers!r}")
