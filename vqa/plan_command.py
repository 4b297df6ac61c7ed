"""`vqa plan`: how an image would be read, and what that would cost; its pixels are not decoded."""

from dataclasses import asdict
from json import dumps
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option

from vqa.commands import Device, MaxMemory, MaxSeconds, MaxTokens, Model

if TYPE_CHECKING:
    from vqa.budget import Plan


def plan(
    image: Annotated[str, Argument(help="Path of the image file, of any size.")],
    max_tokens: MaxTokens = None,
    max_memory: MaxMemory = None,
    max_seconds: MaxSeconds = None,
    model: Model = None,
    page: Annotated[int, Option(min=1, help="Page of a TIFF, PDF or animation.")] = 1,
    device: Device = None,
    json: Annotated[bool, Option("--json", help="Print everything as JSON.")] = False,
) -> None:
    """Show at what size an image is read, as how many tokens, and the memory and time it takes.

    The first time the machine's speed is measured, which takes some seconds.
    """
    from vqa import budget, images, memory
    from vqa.calibration import calibrate
    from vqa.opening import Reading
    from vqa.predictor import Predictor

    reading = Reading.within(None, page, max_tokens, max_memory, max_seconds)
    with images.open(image, reading.max_pixels, page) as picture:
        _, height, width = picture.shape
        held, decoder = picture.held, picture.format
    network = Predictor.from_pretrained(model, device, cache_mb=0).model
    resident = memory.resident()
    found = budget.plan(
        network,
        height,
        width,
        reading.budget,
        picture_bytes=held,
        decoder=decoder,
        calibration=calibrate(network),
        resident=resident,
    )
    print(dumps(asdict(found), indent=1) if json else _text(found))


def _text(found: "Plan") -> str:
    from vqa.budget import format_bytes

    scale = "nothing downscaled" if found.scale == 1 else f"{100 * found.scale:.3g} % scale"
    lines = [
        f"image    {found.width} x {found.height} pixels",
        f"read at  {found.read_width} x {found.read_height} pixels ({scale})",
        f"tiles    {found.tiles:,}",
        f"tokens   {found.tokens:,}",
        f"memory   {format_bytes(found.memory)} at the peak",
        *([] if found.seconds is None else [f"seconds  {found.seconds:.2f}"]),
    ]
    return "\n".join(lines)
