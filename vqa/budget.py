"""What reading an image costs, and the largest size of it that a budget allows.

docs/budget.md explains the formulas; vqa/memory.py has that of the memory, vqa/calibration.py that
of the seconds.
"""

import re
from dataclasses import dataclass

from vqa import memory
from vqa.calibration import Calibration, calibrate
from vqa.images import shrunk_size
from vqa.model import LatteVQA
from vqa.work import work_of


@dataclass(frozen=True)
class Budget:
    """What one question may cost; None: no limit.

    `max_tokens` of the whole sequence, image and question; `max_memory` bytes, peak of the process;
    `max_seconds` from opening the image to the answer.
    """

    max_tokens: int | None = None
    max_memory: int | None = None
    max_seconds: float | None = None

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value is not None and not value > 0:
                raise ValueError(f"{name} must be above 0, not {value}")


@dataclass(frozen=True)
class Plan:
    """How an image of `width` x `height` pixels is read, and what that is predicted to cost.

    Read at `read_width` x `read_height` pixels, `scale` of the longer side in (0, 1], as so many
    `tiles`; `tokens` of image and question; `memory` in bytes, the peak of the process; `seconds`,
    None without a calibration.
    """

    width: int
    height: int
    read_width: int
    read_height: int
    scale: float
    tiles: int
    tokens: int
    memory: int
    seconds: float | None


class BudgetError(ValueError):
    """A budget that not even the smallest reading meets."""


def plan(
    model: LatteVQA,
    height: int,
    width: int,
    budget: Budget = Budget(),
    *,
    question_tokens: int = 32,
    picture_bytes: int = 4,
    decoder: str = "JPEG",
    beams: int = 10,
    kept: int = 0,
    calibration: Calibration | None = None,
    resident: int | None = None,
) -> Plan:
    """The reading of an image of `height` x `width` pixels at the largest size that fits `budget`.

    `picture_bytes` a pixel are held by whoever decodes it: 4 for colour and 1 for grey files, 0
    for what is in memory already; `decoder`: the file's format, JPEG or any other; `beams` of the
    search for answers, 2 top_k; `kept`: bytes that images kept for later questions may take;
    `resident`: bytes that the process has with the model, those of now if not given.
    Where seconds are limited and no `calibration` is given, the machine's own is used, and measured
    if need be. Raises BudgetError where even the smallest size costs too much.
    """
    held = memory.resident() if resident is None else resident  # measuring leaves memory behind
    if calibration is None and budget.max_seconds is not None:
        calibration = calibrate(model)
    source = memory.Source(height, width, picture_bytes)
    costs = _Costs(model, source, decoder, question_tokens, beams, kept, calibration, held)
    best = max(height, width)
    if _exceeded(costs.at(best), budget):
        best = _upper_bound(costs, budget, best)
        # An overview may shrink where the image grows, so from there on one by one.
        while best and _exceeded(costs.at(best), budget):
            best -= 1
    if not best:
        raise BudgetError(_refusal(costs, budget))
    return costs.at(best)


@dataclass(frozen=True)
class _Costs:
    """What an image costs at each size; a size is named by its longer side in pixels."""

    model: LatteVQA
    source: memory.Source
    decoder: str
    question_tokens: int
    beams: int
    kept: int
    calibration: Calibration | None
    resident: int

    def at(self, longest: int, overview: bool = True) -> Plan:
        """The plan of that size; without the `overview`, less than that."""
        source = self.source
        height, width = shrunk_size(source.height, source.width, longest)
        work = work_of(self.model, height, width, self.question_tokens, overview)
        seconds = None
        if self.calibration is not None:
            seconds = self.calibration.seconds(work, source.height, source.width, self.decoder)
        return Plan(
            width=source.width,
            height=source.height,
            read_width=width,
            read_height=height,
            scale=longest / max(source.height, source.width),
            tiles=work.tiles,
            tokens=work.tokens,
            memory=self.resident + memory.needed(self.model, work, source, self.beams, self.kept),
            seconds=seconds,
        )


def _upper_bound(costs: _Costs, budget: Budget, longest: int) -> int:
    """The largest side below `longest` that would fit if overviews were free; 0 if none would.

    Without the overview all costs only grow with the size, so bisection finds it.
    """
    low, high = 0, longest  # low fits, or is 0
    while high - low > 1:
        middle = (low + high) // 2
        if _exceeded(costs.at(middle, overview=False), budget):
            high = middle
        else:
            low = middle
    return low


def _exceeded(found: Plan, budget: Budget) -> list[str]:
    """The limits that a plan breaks, in words."""
    told = []
    if budget.max_tokens is not None and found.tokens > budget.max_tokens:
        told.append(f"{found.tokens:,} tokens, but max_tokens is {budget.max_tokens:,}")
    if budget.max_memory is not None and found.memory > budget.max_memory:
        limit = format_bytes(budget.max_memory)
        told.append(f"{format_bytes(found.memory)} of memory, but max_memory is {limit}")
    if budget.max_seconds is not None and (found.seconds or 0) > budget.max_seconds:
        told.append(f"{found.seconds:.2g} seconds, but max_seconds is {budget.max_seconds:g}")
    return told


def _refusal(costs: _Costs, budget: Budget) -> str:
    source = costs.source
    name = f"the image of {source.width} x {source.height} pixels"
    told = _exceeded(costs.at(1), budget)
    if told:
        return f"{name} needs, at its smallest, {' and '.join(told)}; raise the limit"
    return f"{name} meets the limits one by one, but at no size all of them; raise one"


UNITS = {
    **{f"{letter}iB": 2 ** (10 * power) for power, letter in enumerate("KMGT", 1)},
    **{f"{letter}B": 10 ** (3 * power) for power, letter in enumerate("KMGT", 1)},
    "B": 1,
    "": 1,
}


def parse_bytes(text: str) -> int:
    """A size such as 4GiB, 500MB, 1.5 GB or a number of bytes. Raises ValueError for others."""
    units = {unit.lower(): size for unit, size in UNITS.items()}
    found = re.fullmatch(r"([0-9]*\.?[0-9]+)\s*([a-z]*)", text.strip().lower())
    if found is None or found[2] not in units or not (size := float(found[1]) * units[found[2]]):
        raise ValueError(f"{text!r} is no size in memory; write one like 4GiB, 500MB or 1.5 GB")
    return int(size)


def format_bytes(size: int) -> str:
    """A size to be read: `1.5 GiB`, `300 MiB`."""
    return f"{size / 2**30:.2f} GiB" if size >= 2**30 else f"{size / 2**20:.0f} MiB"
