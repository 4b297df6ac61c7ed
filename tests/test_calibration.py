"""The machine's speed is measured once for a machine and a model, and again where that is lost."""

import json
import math
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from networks import make

from vqa import calibration
from vqa.cache_folder import cache_folder
from vqa.calibration import Calibration, calibrate
from vqa.model import LatteVQA
from vqa.work import work_of

MADE_UP = Calibration(1e-8, 3e-8, 2e-8, 1e-4, 2e-4, 1e-7, 0.05)


@pytest.fixture(scope="module")
def model() -> LatteVQA:
    return make()


@pytest.fixture(autouse=True)
def measured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[LatteVQA]:
    """Every measurement, which takes no time here; the cache is empty."""
    calls: list[LatteVQA] = []

    def measure(model: LatteVQA) -> Calibration:
        calls.append(model)
        return MADE_UP

    monkeypatch.setattr(calibration, "measure", measure)
    monkeypatch.setenv("LATTE_VQA_CACHE", str(tmp_path / "cache"))
    return calls


def the_file() -> Path:
    (path,) = cache_folder().iterdir()
    return path


def test_a_machine_is_measured_once(model: LatteVQA, measured: list[LatteVQA]) -> None:
    assert calibrate(model) == calibrate(model) == calibrate(make(seed=1)) == MADE_UP
    assert len(measured) == 1
    assert json.loads(the_file().read_text())["seconds"] == asdict(MADE_UP)


def test_another_model_is_measured_by_itself(model: LatteVQA, measured: list[LatteVQA]) -> None:
    others = [make("attention"), make(vocabulary=13), make().to(torch.bfloat16)]
    for other in (model, *others, model):
        calibrate(other)
    assert measured == [model, *others]


def test_another_machine_is_measured_by_itself(
    model: LatteVQA, measured: list[LatteVQA], monkeypatch: pytest.MonkeyPatch
) -> None:
    calibrate(model)
    monkeypatch.setattr(calibration, "_processor", lambda: "another processor")
    calibrate(model)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 64)
    calibrate(model)
    monkeypatch.setattr(torch, "__version__", "99")
    calibrate(model)
    assert len(measured) == 4 == len(list(cache_folder().iterdir()))


@pytest.mark.parametrize(
    "text",
    (
        "",
        "{",
        "[]",
        "null",
        '{"seconds": {}}',
        json.dumps({"words": {}, "seconds": asdict(MADE_UP)}),
        b"\xff\xfe\x00",
    ),
)
def test_a_corrupt_file_is_replaced(
    model: LatteVQA, measured: list[LatteVQA], text: str | bytes
) -> None:
    calibrate(model)
    sound = the_file().read_bytes()
    the_file().write_bytes(text if isinstance(text, bytes) else text.encode())
    assert calibrate(model) == MADE_UP
    assert len(measured) == 2 and the_file().read_bytes() == sound


@pytest.mark.parametrize("value", (-1.0, math.nan, math.inf, "fast", None))
def test_impossible_times_are_measured_again(
    model: LatteVQA, measured: list[LatteVQA], value: object
) -> None:
    calibrate(model)
    kept = json.loads(the_file().read_text())
    kept["seconds"]["token"] = value
    the_file().write_text(json.dumps(kept))
    assert calibrate(model) == MADE_UP and len(measured) == 2


def test_a_folder_that_cannot_be_written_to_costs_time_only(
    model: LatteVQA, measured: list[LatteVQA], tmp_path: Path
) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    assert calibrate(model) == calibrate(model) == MADE_UP
    assert len(measured) == 2


def test_where_the_cache_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert cache_folder() == tmp_path / "cache"
    monkeypatch.delenv("LATTE_VQA_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "latte-vqa"
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache_folder() == tmp_path / "home" / ".cache" / "latte-vqa"


def test_seconds_add_up(model: LatteVQA) -> None:
    """By hand: 100 x 200 pixels in two tiles of 4 x 4 patches a row, two rows, and an overview."""
    work = work_of(model, 100, 200, 10)
    tokens, slots = 7 * 13 + 2 * 4 + 10, (2 * 4 + 1) * 16
    assert (work.tokens, work.slots, work.overview) == (tokens, slots, True)
    reading = 0.05 + 1e-4 * slots + 2e-4 * tokens + 1e-7 * tokens**2
    assert MADE_UP.seconds(work, 100, 200) == pytest.approx(reading + 20_000 * 1e-8)
    assert MADE_UP.seconds(work, 100, 200, "PNG") == pytest.approx(reading + 20_000 * 3e-8)
    # Scaled, and that twice: once for the overview.
    pixels = 400 * 800 * (1e-8 + 2 * 2e-8)
    assert MADE_UP.seconds(work, 400, 800) == pytest.approx(reading + pixels)


@pytest.mark.parametrize("mixer", ("latte", "attention"))
def test_measuring_gives_times(mixer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(calibration, "SIDES", (64, 128, 192))
    monkeypatch.setattr(calibration, "REPEATS", (1, 1, 1))
    monkeypatch.setattr(calibration, "PIXELS", 128)
    found = calibration.measure(make(mixer))
    assert all(0 <= value < 10 for value in vars(found).values())
    assert min(found.jpeg, found.other, found.scaling) > 0
    assert mixer == "attention" or found.pair == 0


def test_a_time_is_linear_or_bends_as_measured(
    model: LatteVQA, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A clock that runs by a made-up law: measuring finds its numbers again."""
    monkeypatch.undo()

    def run(model: LatteVQA, side: int, repeats: int) -> calibration._Run:
        work = work_of(model, side, side, 32)
        vision = 3e-5 * work.slots
        pair = 2e-8 * work.tokens**2 if model.network.mixer == "attention" else 0.0
        return calibration._Run(work, vision, vision + 0.2 + 5e-5 * work.tokens + pair)

    monkeypatch.setattr(calibration, "_run", run)
    monkeypatch.setattr(calibration, "_pixel_seconds", lambda: (1.0, 2.0, 3.0))
    for mixer, pair in (("latte", 0.0), ("attention", 2e-8)):
        found = calibration.measure(make(mixer))
        expected = Calibration(1.0, 2.0, 3.0, 3e-5, 5e-5, pair, 0.2)
        assert list(vars(found).values()) == pytest.approx(list(vars(expected).values()), rel=1e-4)
