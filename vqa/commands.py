"""Commands of `vqa` without Lightning: typed functions whose signatures are their --help.

torch and transformers are imported when a command runs: --help need not wait for them.
"""

from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

from typer import Argument, Option

from vqa import datasets

if TYPE_CHECKING:
    from vqa.evidence import Evidence
    from vqa.predictor import Answer

Model = Annotated[str | None, Option(help="A model folder, or a name of `vqa models`.")]
MaxTokens = Annotated[int | None, Option(min=1, help="Tokens of image and question, at most.")]
MaxMemory = Annotated[str | None, Option(help="Peak memory, such as 4GiB, at most.")]
MaxSeconds = Annotated[float | None, Option(min=0, help="Seconds for the answer, at most.")]
DataRoot = Annotated[str | None, Option(help="The data set's folder; easy_vqa needs none.")]
DataOptions = Annotated[
    list[str] | None, Option(help="The data set's own: NAME=VALUE, as often as needed.")
]
Device = Annotated[str | None, Option(help="cpu, cuda, ...; a GPU if there is one.")]


def ask(
    image: Annotated[str, Argument(help="Path of the image file, of any size.")],
    question: Annotated[str, Argument(help="What you want to know about it.")],
    model: Model = None,
    top_k: Annotated[int, Option(help="Number of answers to search for; 1 is the fastest.")] = 5,
    json: Annotated[bool, Option("--json", help="Print everything as JSON.")] = False,
    device: Device = None,
    max_pixels: Annotated[
        int | None, Option(help="Refuse larger images; 268435456 if not given.")
    ] = None,
    page: Annotated[int, Option(min=1, help="Page of a TIFF, PDF or animation.")] = 1,
    max_tokens: MaxTokens = None,
    max_memory: MaxMemory = None,
    max_seconds: MaxSeconds = None,
    evidence: Annotated[
        Path | None, Option(help="Draw where the answer was read: a .png, .jpg or .webp file.")
    ] = None,
) -> None:
    """Answer a question about an image.

    An image that would cost more than allowed is read at the largest scale that does not.
    """
    from vqa import evidence_picture, images
    from vqa.opening import Reading
    from vqa.predictor import Predictor

    if evidence is not None:
        evidence_picture.check(evidence)
    reading = Reading.within(max_pixels, page, max_tokens, max_memory, max_seconds)
    predictor = Predictor.from_pretrained(model, device, cache_mb=0)
    answer = predictor.ask(image, question, top_k, reading, evidence is not None)
    if evidence is not None and answer.evidence is not None:
        with images.open(image, reading.max_pixels, page) as picture:
            evidence_picture.save(picture, answer.evidence, evidence)
    print(dumps(answer.to_dict(), ensure_ascii=False, indent=1) if json else _text(answer))


def generate(
    name: Annotated[
        str, Argument(help="Name of a data set that draws its images: canvas or pages.")
    ],
    out: Annotated[Path, Option(help="Folder for the jsonl file and the images.")],
    split: Annotated[str, Option(help="train, val or test.")] = "test",
    count: Annotated[
        int | None, Option(help="Questions; 20000 of train and 1000 of others if not given.")
    ] = None,
    size: Annotated[int, Option(help="Pixels of the longer side of an image.")] = 512,
    object_size: Annotated[
        int | None, Option(help="Pixels of a side of an object of canvas; 64 if not given.")
    ] = None,
    kinds: Annotated[
        str | None, Option(help="Kinds of questions, with commas between; all if not given.")
    ] = None,
    seed: Annotated[int, Option(help="Another seed is another data set.")] = 0,
    format: Annotated[str, Option(help="png or jpg.")] = "png",
    aspect: Annotated[
        float | None, Option(help="Width over height of canvas; 1 if not given.")
    ] = None,
    questions: Annotated[
        int | None, Option(min=1, help="Questions about each page of pages; 1 if not given.")
    ] = None,
    fonts: Annotated[
        str, Option(help="packages (the fonts extra) or builtin (one font for every split).")
    ] = "packages",
    overwrite: Annotated[bool, Option("--overwrite", help="Replace the split if present.")] = False,
) -> None:
    """Write a generated data set as a folder that the jsonl data set reads."""
    from vqa.generate import NAMES, Drawn
    from vqa.generate import generate as write

    if name not in NAMES:
        raise datasets.DataError(
            f"{name!r} cannot be generated; those that can are {' and '.join(NAMES)}"
        )
    own = {"object_size": object_size, "aspect": aspect, "questions": questions}
    given: dict[str, Any] = {option: value for option, value in own.items() if value is not None}
    data = datasets.create(
        name, None, split, size=size, kinds=kinds, count=count, seed=seed, fonts=fonts, **given
    )
    print(f"wrote {write(cast(Drawn, data), out, format, overwrite)}")


def export(
    checkpoint: Annotated[str, Argument(help="A .ckpt file of `vqa fit`.")],
    folder: Annotated[str, Argument(help="Where to write the model.")],
    dtype: Annotated[str, Option(help="Saved weights: float32, bfloat16, float16.")] = "float32",
    tagger: Annotated[
        Path | None, Option(help="Folder of `vqa fit-tagger`, for a model trained with data.tags.")
    ] = None,
    bits: Annotated[
        int | None, Option(help="4, 5, 6 or 8: the decoder's weights in so few bits.")
    ] = None,
) -> None:
    """Write a model folder (config.json, model.safetensors, tokenizer) from a checkpoint."""
    from vqa.export import export as write

    write(checkpoint, folder, dtype, tagger, bits)
    print(f"wrote {folder}")


def _where(evidence: "Evidence") -> str:
    from vqa.evidence import NOWHERE

    if evidence.box is None:
        return NOWHERE
    left, top, right, bottom = evidence.box
    return (
        f"read from pixels {left} to {right} across and {top} to {bottom} down; "
        f"the image's share {evidence.share:.0%}"
    )


def _text(answer: "Answer") -> str:
    others = ", ".join(f"{other.answer} {other.score:.1%}" for other in answer.top_k[1:])
    lines = [
        f"{answer.verdict}  ({answer.score:.1%})",
        *([f"otherwise: {others}"] if others else []),
        *([_where(answer.evidence)] if answer.evidence else []),
        f"read {answer.width} x {answer.height} pixels {answer.read_at} as "
        f"{answer.tokens:,} tokens in {answer.seconds:.2f} s with the {answer.model} model",
    ]
    return "\n".join(lines)
