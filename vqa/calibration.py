"""How fast this machine answers with a model: measured once, kept in the user's cache folder.

LATTE_VQA_CACHE names another folder. What cannot be read there is measured again.
"""

import contextlib
import hashlib
import io
import json
import math
import os
import platform
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from vqa import images
from vqa.cache_folder import cache_folder
from vqa.model import LatteVQA
from vqa.work import Work, work_of

BEAMS = 10
QUESTION = 32
SIDES, REPEATS = (64, 512, 1024), (5, 4, 3)
"""Sides in pixels of the images that are read to measure the time, and how often each is."""

PIXELS = 1024
"""Side of the image that is decoded and scaled to measure the time."""


@dataclass(frozen=True)
class Calibration:
    """Seconds that parts of an answer take.

    `jpeg` and `other` (PNG and all else) a pixel decoded; `scaling` a pixel of the file; `patch` of
    a tile in the image encoder, padding too; `token` of the sequence; `pair` a squared token, for
    softmax attention; `answer`: all that does not depend on the image.
    """

    jpeg: float
    other: float
    scaling: float
    patch: float
    token: float
    pair: float
    answer: float

    def seconds(self, work: Work, height: int, width: int, decoder: str = "JPEG") -> float:
        """Of one question about a file of `height` x `width` pixels in the format `decoder`."""
        pixel = self.jpeg if decoder == "JPEG" else self.other
        if (height, width) != (work.height, work.width):
            pixel += self.scaling * (2 if work.overview else 1)
        sequence = self.token * work.tokens + self.pair * work.tokens**2
        return self.answer + pixel * height * width + self.patch * work.slots + sequence


def calibrate(model: LatteVQA) -> Calibration:
    """This machine's calibration for `model`, from the cache or measured now (seconds)."""
    words = _words(model)
    key = hashlib.sha256(json.dumps(words, sort_keys=True).encode()).hexdigest()
    path = cache_folder() / f"calibration-{key[:16]}.json"
    found = _load(path, words)
    if found is None:
        found = measure(model)
        with contextlib.suppress(OSError):  # a folder that cannot be written to costs time only
            _save(path, words, found)
    return found


def measure(model: LatteVQA) -> Calibration:
    """Time the parts on this machine, with the threads that torch has now."""
    jpeg, other, scaling = _pixel_seconds()
    softmax = model.network.mixer == "attention"  # half the sides: a sixteenth of the time
    with torch.inference_mode():
        runs = [
            _run(model, side // 2 if softmax else side, repeats)
            for side, repeats in zip(SIDES, REPEATS, strict=True)
        ]
    first, last = runs[0], runs[-1]
    patch = max(0.0, (last.vision - first.vision) / (last.work.slots - first.work.slots))
    pair = _pair(runs) if softmax else 0.0
    rest = [run.total - run.vision - pair * run.work.tokens**2 for run in runs]
    token = max(0.0, (rest[-1] - rest[0]) / (last.work.tokens - first.work.tokens))
    spent = patch * first.work.slots + token * first.work.tokens + pair * first.work.tokens**2
    return Calibration(jpeg, other, scaling, patch, token, pair, max(0.0, first.total - spent))


@dataclass(frozen=True)
class _Run:
    """Seconds of an answer, and of the image encoder in it."""

    work: Work
    vision: float
    total: float


def _run(model: LatteVQA, side: int, repeats: int) -> _Run:
    """Answers about an image of `side` pixels a side."""
    question = torch.full((1, QUESTION), 3, device=model.device)
    clock = _clock(model.device)
    words: dict[str, Any] = {"num_beams": BEAMS, "num_return_sequences": BEAMS}
    rows = torch.zeros(BEAMS, dtype=torch.long, device=model.device)
    seen: list[float] = []  # before and after the image encoder
    watch = model.vision.register_forward_pre_hook(lambda *_: seen.append(clock()))
    watch_end = model.vision.register_forward_hook(lambda *_: seen.append(clock()))

    def answer() -> None:
        cache = model.read([picture], question, question > 0)
        sequences = model.generate(cache, length_penalty=0.0, **words)
        model.score(cache.select(rows), sequences)

    with images.open(_file(_picture(side), "JPEG")) as picture:
        total = _seconds(answer, repeats, clock)
    watch.remove()
    watch_end.remove()
    spent = [end - start for start, end in zip(seen[2::2], seen[3::2], strict=True)]
    return _Run(work_of(model, side, side, QUESTION), min(spent), total)


def _pair(runs: list[_Run]) -> float:
    """The curvature of the time over the tokens through three runs."""
    places = [run.work.tokens for run in runs]
    curve = np.polyfit(places, [run.total - run.vision for run in runs], 2)
    return max(0.0, float(curve[0]))


def _pixel_seconds() -> tuple[float, float, float]:
    """A JPEG pixel decoded, a PNG pixel decoded, a pixel scaled to half the size."""
    pixels = _picture(PIXELS)
    clock = _clock(torch.device("cpu"))

    def scale() -> None:
        with images.open(pixels) as picture:
            picture.scaled(PIXELS // 2, PIXELS // 2)[:, :, :]

    def decode(file: bytes) -> float:
        return _seconds(lambda: images.load(file), 3, clock) / PIXELS**2

    jpeg, png = (decode(_file(pixels, kind)) for kind in ("JPEG", "PNG"))
    return jpeg, png, _seconds(scale, 3, clock) / PIXELS**2


def _file(pixels: np.ndarray, kind: str) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


def _picture(side: int) -> np.ndarray:
    """Smooth colours and a little grain, as of a photograph; uint8 `[side, side, 3]`."""
    random = np.random.default_rng(0)
    coarse = Image.fromarray(random.integers(0, 256, (side // 32 + 2, side // 32 + 2, 3), np.uint8))
    smooth = np.asarray(coarse.resize((side, side), Image.Resampling.BICUBIC), np.int16)
    grain = random.integers(-4, 5, smooth.shape, np.int16)
    return (smooth + grain).clip(0, 255).astype(np.uint8)


def _clock(device: torch.device) -> Callable[[], float]:
    """What tells the time of work on `device`."""
    if device.type == "cuda":

        def synchronized() -> float:
            torch.cuda.synchronize(device)
            return time.perf_counter()

        return synchronized
    # One thread's own time, which other programs cannot stretch; several threads wait for another.
    return time.thread_time if torch.get_num_threads() == 1 else time.perf_counter


def _seconds(work: Callable[[], object], repeats: int, clock: Callable[[], float]) -> float:
    """The shortest of `repeats` times, after one run that is not counted."""
    times = []
    for _ in range(repeats + 1):
        start = clock()
        work()
        times.append(clock() - start)
    return min(times[1:])


def _words(model: LatteVQA) -> dict[str, Any]:
    """What the times depend on."""
    network = json.dumps([model.config.network, model.config.vocab_size], sort_keys=True)
    on_gpu = model.device.type == "cuda"
    return {
        "processor": _processor(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "device": torch.cuda.get_device_name(model.device) if on_gpu else model.device.type,
        "dtype": str(model.dtype),
        "network": hashlib.sha256(network.encode()).hexdigest(),
    }


def _processor() -> str:
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if "model name" in line)
    return f"{platform.machine()} {platform.processor()}"


def _load(path: Path, words: dict[str, Any]) -> Calibration | None:
    """What `_save` wrote of the same machine and model; None for anything else."""
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        found = Calibration(**kept["seconds"])
        sound = all(0 <= value < math.inf for value in vars(found).values())
        return found if sound and kept["words"] == words else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _save(path: Path, words: dict[str, Any], found: Calibration) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(f".{os.getpid()}.part")
    part.write_text(json.dumps({"words": words, "seconds": asdict(found)}, indent=1), "utf-8")
    part.replace(path)
