"""Commands of `vqa` without Lightning: typed functions whose signatures are their --help."""

import sys
from json import dumps
from pathlib import Path

from vqa import datasets
from vqa.images import MAX_PIXELS
from vqa.predictor import Answer, Predictor


def ask(
    image: str,
    question: str,
    model: str | None = None,
    top_k: int = 5,
    json: bool = False,
    device: str | None = None,
    max_pixels: int = MAX_PIXELS,
) -> None:
    """Answer a question about an image.

    Args:
        image: path of the image file, of any size.
        question: what you want to know about it.
        model: a model folder; the bundled model if not given.
        top_k: number of answers to search for; 1 is the fastest.
        json: print everything as JSON.
        device: cpu, cuda, ...; a GPU if there is one.
        max_pixels: refuse larger images.
    """
    answer = Predictor.from_pretrained(model, device).ask(image, question, top_k, max_pixels)
    print(_json(answer) if json else _text(answer))


def evaluate(
    dataset: str,
    out: str,
    model: str | None = None,
    root: str | None = None,
    split: str = "test",
    batch_size: int = 64,
    limit: int | None = None,
    top_k: int = 1,
    num_workers: int = 0,
    skip_bad: bool = False,
    device: str | None = None,
) -> None:
    """Answer a whole split of a data set and score it with the data set's own metric.

    Args:
        dataset: name of the data set: easy_vqa, jsonl.
        out: folder for results.json, predictions.jsonl and scores.json.
        model: a model folder; the bundled model if not given.
        root: folder of the data set; easy_vqa needs none.
        split: train, val or test.
        batch_size: questions answered at once.
        limit: answer the first so many questions only.
        top_k: number of answers kept in predictions.jsonl; more than 1 searches with beams.
        num_workers: processes that read images.
        skip_bad: leave bad rows out and count them.
        device: cpu, cuda, ...; a GPU if there is one.
    """
    from vqa import evaluate as evaluation

    data = datasets.create(dataset, root, split, skip_bad)
    for reason in data.skipped:
        print(f"skipped {reason}", file=sys.stderr)
    scores = evaluation.evaluate(
        Predictor.from_pretrained(model, device),
        data,
        Path(out),
        batch_size,
        limit,
        top_k,
        num_workers,
    )
    print(dumps(scores, indent=1))


def export(checkpoint: str, folder: str, dtype: str = "float32") -> None:
    """Write a model folder (config.json, model.safetensors, tokenizer) from a training checkpoint.

    Args:
        checkpoint: a .ckpt file of `vqa fit`.
        folder: where to write.
        dtype: type of the saved weights: float32, bfloat16 or float16.
    """
    from vqa.export import export as write

    write(checkpoint, folder, dtype)
    print(f"wrote {folder}")


def _json(answer: Answer) -> str:
    return dumps(answer.to_dict(), ensure_ascii=False, indent=1)


def _text(answer: Answer) -> str:
    others = ", ".join(f"{other.answer} {other.score:.1%}" for other in answer.top_k[1:])
    lines = [
        f"{answer.answer}  ({answer.score:.1%})",
        *([f"otherwise: {others}"] if others else []),
        f"read {answer.width} x {answer.height} pixels as {answer.tokens:,} tokens "
        f"in {answer.seconds:.2f} s with the {answer.model} model; nothing was downscaled",
    ]
    return "\n".join(lines)
