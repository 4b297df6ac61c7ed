"""What the page shows of an answer, while it is written and afterwards."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from app.upload import at_page, path_of, told
from vqa.predictor import Answer, Predictor, Reading

TOP = 5
"""Answers shown with their probabilities."""

Shown = tuple[str, dict[str, float] | None, str]
"""The answer's text, the best answers' probabilities, the details."""


def answering(predictor: Predictor, reading: Reading) -> Callable[..., Iterator[Shown]]:
    """The function behind the page: what was uploaded and asked -> what is shown, over time."""

    def answer(
        image: dict[str, Any] | None, question: str | None, page: float | None = 1
    ) -> Iterator[Shown]:
        """Answers a question about an image, or about one page of a PDF or TIFF (the first if not
        given): the answer's text, the most probable answers with their probabilities, and what
        was read. The text grows while it is written."""
        path = path_of(image)
        chosen = at_page(reading, page)
        yield "", None, "Reading the image ..."
        with told(path):
            for part in predictor.stream(path, str(question or ""), TOP, chosen):
                if isinstance(part, Answer):
                    yield part.answer, probabilities(part), details(part)
                else:
                    yield part, None, "Writing the answer ..."

    return answer


def probabilities(answer: Answer) -> dict[str, float]:
    """Probability of each of the best answers, as gr.Label wants them."""
    return {found.answer or "(no words)": found.score for found in answer.top_k}


def details(answer: Answer) -> str:
    """What was read to find the answer, in one line."""
    megapixels = answer.width * answer.height / 1e6
    size = f"{megapixels:,.1f}" if megapixels >= 1 else f"{megapixels:.2g}"
    parts = (
        f"image {answer.width:,} × {answer.height:,} pixels ({size} megapixels)",
        f"{answer.tokens:,} tokens",
        f"{answer.seconds:.2f} seconds",
        f"model {Path(answer.model).name or answer.model}",
        f"read {answer.read_at}",
    )
    return " · ".join(parts)
