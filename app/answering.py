"""What the page shows of an answer, while it is written and afterwards."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from app import evidence
from app.choice import Choice
from app.upload import at_page, failure, path_of, told
from vqa.opening import Reading
from vqa.predictor import Answer

TOP = 5
"""Answers shown with their probabilities."""

Shown = tuple[str, dict[str, float] | None, str, Any]
"""The answer's text, the best answers' probabilities, the details, a PIL image or None."""


def answering(choice: Choice, reading: Reading) -> Callable[..., Iterator[Shown]]:
    """The function behind the page: what was uploaded and asked -> what is shown, over time."""

    def answer(
        image: dict[str, Any] | None,
        question: str | None,
        page: float | None = 1,
        show: bool | None = False,
        model: str | None = None,
    ) -> Iterator[Shown]:
        """Answers a question about an image, or about one page of a PDF or TIFF (the first if not
        given), by one of the models (the first if not given): the answer's text, the most probable
        answers with their probabilities, what was read, and, with `show`, a picture of where it was
        read. The text grows while it is written; the picture comes last."""
        path = path_of(image)
        chosen, where = at_page(reading, page), wanted(show)
        predictor = choice.get(model)
        yield "", None, "Reading the image ...", None
        with told(path):
            for part in predictor.stream(path, str(question or ""), TOP, chosen, where):
                if isinstance(part, Answer):
                    found = part
                else:
                    yield part, None, "Writing the answer ...", None
        shown = found.verdict, probabilities(found), details(found)
        yield *shown, None
        if found.evidence is not None:
            # The image is decoded once more for it: the answer does not wait.
            picture, problem = evidence.drawing(path, chosen, found.evidence)
            line = " · ".join(filter(None, (shown[2], problem)))
            yield shown[0], shown[1], line, picture

    return answer


def wanted(show: Any) -> bool:
    """Whether to show where it was read, as a person or a program wrote it."""
    if not isinstance(show, bool | None):
        raise failure(f"show is true or false, not {show!r}; choose one of them")
    return bool(show)


def probabilities(answer: Answer) -> dict[str, float]:
    """Probability of each of the best answers, as gr.Label wants them."""
    return {found.answer or "(no words)": found.score for found in answer.top_k}


def details(answer: Answer) -> str:
    """What was read to find the answer, in one line."""
    megapixels = answer.width * answer.height / 1e6
    size = f"{megapixels:,.1f}" if megapixels >= 1 else f"{megapixels:.2g}"
    parts = [
        f"image {answer.width:,} × {answer.height:,} pixels ({size} megapixels)",
        f"{answer.tokens:,} tokens",
        f"{answer.seconds:.2f} seconds",
        f"model {Path(answer.model).name or answer.model}",
        f"read {answer.read_at}",
    ]
    if answer.evidence is not None:
        parts.append(evidence.line(answer.evidence))
    return " · ".join(parts)
