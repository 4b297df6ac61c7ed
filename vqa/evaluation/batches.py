"""Which questions are answered together, at what size of their images."""

from collections import defaultdict
from collections.abc import Sequence

from vqa import images, sampler, search
from vqa.budget import Budget, plan
from vqa.datasets import Example
from vqa.predictor import Predictor
from vqa.questions import At, Sizes

UNLIMITED = Budget()


def batches(
    predictor: Predictor,
    examples: Sequence[Example],
    read: Sizes,
    batch_size: int,
    budget: Budget = UNLIMITED,
    top_k: int = 1,
    longest_side: int | None = None,
) -> list[list[At]]:
    """All questions in batches of similar sizes, in which an image with many stands once.

    They depend on nothing else than the arguments: not on processes, nor on what is done already.
    A limit of memory is one for each question, so with one there is a question a batch.
    Raises BudgetError.
    """
    together = batch_size if budget.max_memory is None else 1
    longest = _longest(predictor, examples, read, budget, top_k, longest_side)
    pixels = [read.of(path, longest[path]) for path in read.images]
    order = sampler.by_size(read.images, pixels)
    found = sampler.in_order(order, read.images, pixels, together)
    return [[(index, longest[read.images[index]]) for index in batch] for batch in found]


def _longest(
    predictor: Predictor,
    examples: Sequence[Example],
    read: Sizes,
    budget: Budget,
    top_k: int,
    most: int | None,
) -> dict[str, int | None]:
    """The longest side in pixels that each image is read at, for the longest of its questions, at
    `most` that; None: its own."""
    if read.rendered and (budget != UNLIMITED or most is not None):
        raise ValueError(
            "a budget or longest side is for image files; choose another size of the canvas instead"
        )
    if budget == UNLIMITED:
        return dict.fromkeys(read.images, most)
    texts = [example.question for example in examples]
    words: dict[str, int] = defaultdict(int)
    for path, tokens in zip(read.images, predictor.tokenizer(texts).input_ids, strict=True):
        words[path] = max(words[path], len(tokens))
    found: dict[str, int | None] = {}
    for path, (width, height) in read.sizes().items():
        planned = plan(
            predictor.model,
            *images.shrunk_size(height, width, most),
            budget,
            question_tokens=words[path],
            beams=search.beams(top_k),
        )
        side = max(planned.read_width, planned.read_height)
        found[path] = most if planned.scale == 1 else side
    return found
