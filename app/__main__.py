"""`python -m app`: serve the demo."""

import argparse
import re
import sys
from collections.abc import Sequence

UPLOAD = re.compile(r"\d+ ?[kmgt]?b", re.IGNORECASE)


def main(arguments: Sequence[str] | None = None) -> int:
    """Serves until interrupted; a mistake of the user's is one sentence and exit code 2."""
    flags = parser().parse_args(arguments)
    # Imported here: --help need not wait for torch, nor a wrong --model for gradio.
    from vqa.opening import Reading
    from vqa.predictor import Predictor

    try:
        reading = Reading.within(
            flags.max_pixels, 1, flags.max_tokens, flags.max_memory, flags.max_seconds
        )
        from vqa import models

        predictor = Predictor.from_pretrained(flags.model or models.DEMO)
        from app.demo import build, serve

        demo = build(predictor, reading, () if flags.model else models.names())
        serve(demo, flags.host, flags.port, flags.share, flags.max_upload)
    except ValueError as error:
        print(f"app: {error}", file=sys.stderr)
        return 2
    return 0


def parser() -> argparse.ArgumentParser:
    """The options of `python -m app`."""
    options = argparse.ArgumentParser(
        prog="python -m app",
        description="Ask questions about images of any size, in the browser.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = options.add_argument
    add(
        "--model",
        metavar="DIR",
        help="model folder or bundled model; visitors choose if not given",
    )
    add("--host", default="127.0.0.1", help="address to listen on; 0.0.0.0 opens it to the network")
    add("--port", type=port, metavar="N", help="port; the first free one from 7860 if not given")
    add("--share", action="store_true", help="also give it a public address, through gradio.live")
    add("--max-upload", type=upload, default="200mb", metavar="SIZE", help="largest file accepted")
    add(
        "--max-pixels",
        type=positive,
        metavar="N",
        help="refuse images of more pixels; 268435456 (16384 x 16384) if not given",
    )
    add("--max-tokens", type=positive, metavar="N", help="read images as at most so many tokens")
    add("--max-memory", metavar="SIZE", help="peak memory, such as 4GiB, that reading may cost")
    add("--max-seconds", type=float, metavar="S", help="seconds that an answer may take")
    return options


def port(text: str) -> int:
    """A TCP port."""
    if not text.isdigit() or not 0 < int(text) < 65536:
        raise argparse.ArgumentTypeError(f"a port is a number from 1 to 65535, not {text!r}")
    return int(text)


def positive(text: str) -> int:
    """A number of pixels or tokens."""
    if not text.isdigit() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"a positive number is needed, not {text!r}")
    return int(text)


def upload(text: str) -> str:
    """A file size such as 200mb or 1gb."""
    if not UPLOAD.fullmatch(text):
        raise argparse.ArgumentTypeError(f"a size is written like 200mb or 1gb, not {text!r}")
    return text


if __name__ == "__main__":
    sys.exit(main())
