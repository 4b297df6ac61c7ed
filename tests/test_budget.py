"""A budget gives the largest reading that fits it; the costs are those of reading so."""

import dataclasses
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from networks import make
from PIL import Image
from torch import Tensor

from encoders.vision.sheet import Tiles
from vqa import calibration, memory, plan_command
from vqa.budget import Budget, BudgetError, Plan, format_bytes, parse_bytes, plan
from vqa.calibration import Calibration
from vqa.config import LatteVQAConfig, Network, Vision
from vqa.model import LatteVQA
from vqa.work import work_of

SIZES = ((300, 170), (170, 300), (65, 64), (64, 64), (1, 400), (130, 41), (7, 5))  # height, width
SPEED = Calibration(1e-8, 3e-8, 2e-8, 1e-4, 2e-4, 1e-7, 0.05)


@pytest.fixture(scope="module")
def model() -> LatteVQA:
    return make()


@pytest.fixture(autouse=True)
def fixed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process has the same memory at every call."""
    monkeypatch.setattr(memory, "resident", lambda: 10**6)


def sizes(height: int, width: int) -> list[tuple[int, int]]:
    """All sizes in the image's proportions, the smallest first."""
    longest = max(height, width)
    return [
        (max(1, round(height * n / longest)), max(1, round(width * n / longest)))
        for n in range(1, longest + 1)
    ]


def cost(model: LatteVQA, height: int, width: int, read: tuple[int, int]) -> dict[str, float]:
    """What a reading costs, not looked up in a plan."""
    work = work_of(model, *read, 32)
    assert work.tokens == model.vision.count(*read) + 32
    source = memory.Source(height, width, 4)
    return {
        "max_tokens": work.tokens,
        "max_memory": 10**6 + memory.needed(model, work, source),
        "max_seconds": SPEED.seconds(work, height, width),
    }


class Judge:
    """The largest of all sizes that fits, found by trying all."""

    def __init__(self, model: LatteVQA, height: int, width: int) -> None:
        self.costs = [(read, cost(model, height, width, read)) for read in sizes(height, width)]

    def __call__(self, limits: dict[str, Any]) -> tuple[int, int]:
        fitting = [
            read
            for read, costs in self.costs
            if all(costs[name] <= limit for name, limit in limits.items())
        ]
        return fitting[-1] if fitting else (0, 0)


def found(model: LatteVQA, height: int, width: int, limits: dict[str, Any]) -> tuple[int, int]:
    try:
        chosen = plan(model, height, width, Budget(**limits), calibration=SPEED)
    except BudgetError:
        return (0, 0)
    return chosen.read_height, chosen.read_width


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("names", (("max_tokens",), ("max_memory",), ("max_seconds",), None))
def test_the_largest_size_that_fits_is_read(
    model: LatteVQA, size: tuple[int, int], names: tuple[str, ...] | None
) -> None:
    kinds = names or ("max_tokens", "max_memory", "max_seconds")
    ends = [cost(model, *size, read) for read in (sizes(*size)[0], size)]
    seen, judge = set(), Judge(model, *size)
    for share in (-0.1, 0.0, 0.03, 0.1, 0.2, 0.35, 0.5, 0.7, 0.9, 0.99, 1.0):
        limits = {kind: ends[0][kind] + share * (ends[1][kind] - ends[0][kind]) for kind in kinds}
        expected = judge(limits)
        assert found(model, *size, limits) == expected
        seen.add(expected)
    assert size in seen and (len(seen) > 2 or max(size) <= 64)


def test_every_number_of_tokens(model: LatteVQA) -> None:
    """Also where the overview shrinks while the image grows."""
    for height, width in ((300, 60), (90, 200)):
        judge = Judge(model, height, width)
        for tokens in range(33, 190, 2):
            limits = {"max_tokens": tokens}
            assert found(model, height, width, limits) == judge(limits)


def test_more_budget_never_reads_less(model: LatteVQA) -> None:
    for name, steps in (
        ("max_tokens", range(33, 200)),
        ("max_memory", range(34_500_000, 50_000_000, 250_000)),
        ("max_seconds", [0.05 + step / 2000 for step in range(200)]),
    ):
        read = [found(model, 170, 300, {name: limit}) for limit in steps]
        assert read == sorted(read) and len(set(read)) > 3, name


def test_without_limits_nothing_is_downscaled(model: LatteVQA) -> None:
    chosen = plan(model, 170, 300)
    assert (chosen.read_width, chosen.read_height, chosen.scale) == (300, 170, 1.0)
    assert chosen.seconds is None
    assert chosen.tokens == model.vision.count(170, 300) + 32
    roomy = plan(model, 170, 300, Budget(10**9, 10**15, 1e9), calibration=SPEED)
    assert dataclasses.replace(roomy, seconds=None) == chosen


def test_a_plan_tells_what_was_chosen(model: LatteVQA) -> None:
    chosen = plan(model, 170, 300, Budget(max_tokens=80), question_tokens=5)
    assert (chosen.width, chosen.height) == (300, 170)
    assert chosen.scale == chosen.read_width / 300 < 1
    assert chosen.tokens == model.vision.count(chosen.read_height, chosen.read_width) + 5 <= 80


@pytest.mark.parametrize(
    ("limits", "told"),
    (
        ({"max_tokens": 32}, r"400 x 300 pixels needs, at its smallest, 33 tokens, but max_t"),
        ({"max_memory": 2_000_000}, r"\d+ MiB of memory, but max_memory is 2 MiB; raise the l"),
        ({"max_seconds": 0.01}, r"0\.06\d? seconds, but max_seconds is 0\.01"),
        ({"max_tokens": 1, "max_seconds": 0.01}, "33 tokens, .* and 0.06"),
    ),
)
def test_what_cannot_be_met_is_refused(model: LatteVQA, limits: dict[str, Any], told: str) -> None:
    with pytest.raises(BudgetError, match=told) as error:
        plan(model, 300, 400, Budget(**limits), calibration=SPEED)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("limits", ({"max_tokens": 0}, {"max_memory": -5}, {"max_seconds": 0.0}))
def test_a_limit_is_above_nothing(limits: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(limits))} must be above 0, not"):
        Budget(**limits)


def test_limited_seconds_ask_for_the_machines_speed(
    model: LatteVQA, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vqa.budget.calibrate", lambda model: SPEED)
    assert plan(model, 64, 64).seconds is None
    chosen = plan(model, 64, 64, Budget(max_seconds=5))
    assert chosen.seconds == SPEED.seconds(work_of(model, 64, 64, 32), 64, 64)


@pytest.mark.parametrize(
    ("text", "size"),
    (
        ("4GiB", 4 * 2**30),
        ("500MB", 500 * 10**6),
        ("1.5 GB", 1_500_000_000),
        (" 2 kib ", 2048),
        ("12345", 12345),
        ("3 B", 3),
        (".5TB", 5 * 10**11),
    ),
)
def test_sizes_in_memory(text: str, size: int) -> None:
    assert parse_bytes(text) == size


@pytest.mark.parametrize("text", ("", "four", "4 XB", "-1GB", "0", "1e3", "4GiB more", "nan", "."))
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no size in memory; write one like 4GiB"):
        parse_bytes(text)


def test_sizes_are_written_as_they_are_read() -> None:
    assert format_bytes(3 * 2**29) == "1.50 GiB"
    assert format_bytes(300 * 2**20) == "300 MiB" and parse_bytes("300 MiB") == 300 * 2**20


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("at_once", (1, 3, 10**6))
def test_the_work_is_what_the_encoder_does(
    size: tuple[int, int], at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = make()
    model.vision.pixels_at_once = at_once * 64**2
    encode: Callable[[Tiles], Tensor] = model.vision._tokens
    seen: list[torch.Size] = []

    def watched(tiles: Tiles) -> Tensor:
        seen.append(tiles.pixels.shape)
        return encode(tiles)

    monkeypatch.setattr(model.vision, "_tokens", watched)
    with torch.no_grad():
        tokens = model.vision([torch.zeros(3, *size, dtype=torch.uint8)]).tokens
    work = work_of(model, *size, 7)
    pixels = [shape[0] * shape[2] * shape[3] for shape in seen]
    assert work.tokens == tokens.shape[1] + 7
    assert work.tiles == sum(shape[0] for shape in seen)
    assert work.slots == sum(pixels) / model.vision.patch**2
    assert max(pixels) <= work.batch_pixels <= max(max(pixels), at_once * 64**2)


def needed(model: LatteVQA, side: int, **words: Any) -> dict[str, int]:
    source = memory.Source(side, side, 4)
    return memory.phases(model, work_of(model, side, side, 32), source, **words)


def test_memory_is_linear_in_the_pixels(model: LatteVQA) -> None:
    """From one size to the next the constant parts of Latte's formula fall out."""
    two, four, six = (needed(model, 1000 * factor)["tiles"] for factor in (2, 4, 6))
    assert (six - four) / (four - two) == pytest.approx(20 / 12, rel=0.01)
    dim = model.network.dim
    patches = (4000**2 - 2000**2) / 256
    assert four - two == pytest.approx(4 * 12e6 + patches * (4 * dim + 9), rel=0.01)


def test_attention_keeps_keys_and_values() -> None:
    softmax, latent = (needed(make(mixer), 2000, beams=4) for mixer in ("attention", "latte"))
    tokens, dim, layers = make().vision.count(2000, 2000) + 32, 16, 2
    keys_and_values = tokens * layers * (2 * 4 * dim + 1)
    assert softmax["answer"] - latent["answer"] == 17 * keys_and_values
    assert softmax["encoder"] > latent["encoder"] and softmax["tiles"] == latent["tiles"]


def test_macchiato_reads_all_tokens_at_once(model: LatteVQA) -> None:
    assert needed(make("macchiato"), 2000)["encoder"] > 2 * needed(model, 2000)["encoder"] / 3
    assert needed(make("macchiato"), 4000)["encoder"] > needed(model, 4000)["encoder"] * 1.5


def test_what_is_kept_of_an_image_is_there_twice(model: LatteVQA) -> None:
    sequence = (model.vision.count(640, 640) + 32) * (4 * 16 + 9)
    once, part, twice, roomy = (
        needed(model, 640, kept=kept)["tiles"] for kept in (0, 100, sequence, 10**12)
    )
    assert (part - once, twice - once, roomy - once) == (100, sequence, sequence)


def test_the_decoder_holds_the_whole_file_whatever_is_read(model: LatteVQA) -> None:
    work = work_of(model, 64, 64, 32)
    grey, colour = (memory.needed(model, work, memory.Source(5000, 4000, n)) for n in (1, 4))
    assert colour - grey == 3 * 5000 * 4000
    assert memory.needed(model, work, memory.Source(64, 64, 4)) < grey


@pytest.mark.parametrize("patch", (8, 16))
def test_the_encoder_without_tiles_is_planned_too(patch: int) -> None:
    sizes = {"width": 16, "heads": 2, "latents": 8}
    vision = Vision(encoder="latte_vit", latte_args={**sizes, "patch": patch, "tile": 64})
    model = LatteVQA(
        LatteVQAConfig(Network(vision=vision, dim=16, heads=2, latents=8), vocab_size=12)
    )
    chosen = plan(model, 200, 300, Budget(max_tokens=100), calibration=SPEED)
    expected = Judge(model, 200, 300)({"max_tokens": 100})
    assert (chosen.read_height, chosen.read_width) == expected
    assert chosen.memory > 10**6


MEASURE = """
import json, sys
import torch
torch.set_num_threads(1)
from vqa import memory
from vqa.budget import plan
from vqa.predictor import Predictor
predictor = Predictor.from_pretrained(device="cpu", cache_mb=0)
before = memory.resident()
predicted = plan(predictor.model, 900, 1300).memory
memory.HEAP = 1.0
tensors = plan(predictor.model, 900, 1300).memory - memory.FIRST_USE
predictor.ask(sys.argv[1], "what color is the circle?")
print(json.dumps([before, predicted, tensors, memory.peak()]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="read from /proc")
def test_the_predicted_peak_is_the_measured_one(tmp_path: Path) -> None:
    path = tmp_path / "image.png"
    Image.linear_gradient("L").resize((1300, 900)).convert("RGB").save(path)
    command = [sys.executable, "-c", MEASURE, str(path)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=280)
    assert run.returncode == 0, run.stderr
    before, predicted, tensors, peak = json.loads(run.stdout.splitlines()[-1])
    assert predicted == pytest.approx(peak, rel=0.15)
    # Without the libraries: how much freed memory the heap keeps differs from machine to machine.
    least, measured, most = tensors - before, peak - before, predicted - before
    assert 100 * 2**20 < least < measured * 1.1 and measured < most * 1.1


def test_the_command_prints_a_plan(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calibration, "calibrate", lambda model: SPEED)
    path = tmp_path / "page.png"
    Image.new("L", (640, 320)).save(path)
    plan_command.plan(str(path), model=str(tiny), device="cpu")
    told = capsys.readouterr().out
    assert "640 x 320 pixels (nothing downscaled)" in told and "seconds  " in told
    plan_command.plan(str(path), max_tokens=200, model=str(tiny), device="cpu", json=True)
    found = Plan(**json.loads(capsys.readouterr().out))
    assert found.tokens <= 200 and found.scale < 1 and (found.width, found.height) == (640, 320)
    plan_command.plan(str(path), max_tokens=200, model=str(tiny), device="cpu")
    assert f"({100 * found.scale:.3g} % scale)" in capsys.readouterr().out
    with pytest.raises(BudgetError, match="max_memory is 1 MiB"):
        plan_command.plan(str(path), max_memory="1MiB", model=str(tiny), device="cpu")
