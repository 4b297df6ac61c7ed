"""benchmarks/operators.py runs from end to end, and its verdicts follow from its numbers.

What it measures is the business of a quiet machine; no time is judged here.
"""

import importlib
import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import torch

from encoders import latte

FOLDER = Path(__file__).parents[1] / "benchmarks"
GRID = [2**n for n in range(6, 19)]
Results = dict[str, Any]


@pytest.fixture(autouse=True)
def scripts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The files of benchmarks/ import each other as a script's neighbours do."""
    monkeypatch.syspath_prepend(FOLDER)


def report() -> Any:
    return importlib.import_module("operators_report")


def measure() -> Any:
    return importlib.import_module("operators_measure")


@pytest.fixture
def results() -> Results:
    """A made-up machine on which Latte takes 1 ms a 1,024 tokens, and SDPA T^2 / 1,000,000 ms."""
    times = []
    for way, dearer in (("forward", 1), ("forward + backward", 3)):
        for tokens in GRID:
            linear, square = tokens / 1024, tokens**2 / 1e6
            costs = {"Latte bidirectional": linear, "Latte causal": 2 * linear}
            if tokens <= 16384:
                costs |= {"SDPA full": square, "SDPA causal": square / 2}
            for name, ms in costs.items():
                row = {"contestant": name, "pass": way, "tokens": tokens, "runs": 5}
                times.append(row | {"median_ms": dearer * ms, "min_ms": 0.9 * dearer * ms})
    peaks = [
        {"contestant": name, "pass": "forward", "tokens": tokens, "bytes": 3000 * tokens}
        for name in ("Latte bidirectional", "Latte causal")
        for tokens in (4096, 16384, 65536, 262144)
    ]
    peaks[0]["bytes"] = 3300 * 4096
    step = {"contestant": "Latte step", "min_ms": 0.1, "runs": 9}
    block = {"tokens": 4096, "min_ms": 1.0, "runs": 9}
    return {
        "machine": {"bf16_arithmetic": False, "cpu": "a < b", "device": "cpu", "threads": 2}
        | {"dtype": "float32", "date": "2026-01-02T03:04+00:00"},
        "sizes": {"batch": 1, "heads": 8, "latents": 32, "width": 64, "bytes": 4},
        "rates": {"matmul_flops": 1e11, "copy_bytes": 1e10},
        "times": times,
        "peaks": peaks,
        "decoding": [
            step | {"tokens": 1024, "median_ms": 0.20},
            step | {"tokens": 262144, "median_ms": 0.22},
        ],
        "block": [
            block | {"dtype": "float32", "median_ms": 50.0},
            block | {"dtype": "bfloat16", "median_ms": 20.0},
        ],
    }


def row(results: Results, name: str, tokens: int, way: str = "forward") -> Any:
    wanted = (name, tokens, way)
    return next(r for r in results["times"] if (r["contestant"], r["tokens"], r["pass"]) == wanted)


@pytest.mark.slow
def test_quick_run_writes_everything(tmp_path: Path) -> None:
    command = [sys.executable, str(FOLDER / "operators.py"), "--quick", "--threads", "1"]
    done = subprocess.run(
        [*command, "--out", str(tmp_path)], capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr
    got = json.loads((tmp_path / "operators_cpu.json").read_text())
    assert {"cpu", "cores", "threads", "torch", "date", "dtype"} <= got["machine"].keys()
    assert got["machine"]["threads"] == 1
    assert all(rate > 0 for rate in got["rates"].values())
    runs = {(r["contestant"], r["pass"], r["tokens"]) for r in got["times"]}
    assert len(runs) == len(got["times"]) == 5 * 2 * 2
    assert all(0 < r["min_ms"] <= r["median_ms"] and r["runs"] > 1 for r in got["times"])
    assert {r["pass"] for r in got["peaks"]} == {"forward", "forward + backward"}
    assert all(r["bytes"] > 0 for r in got["peaks"])
    assert {(r["contestant"], r["tokens"]) for r in got["decoding"]} == {
        ("Latte step", 64),
        ("Latte step", 256),
        ("SDPA cached", 64),
    }
    assert [r["dtype"] for r in got["block"]] == ["float32", "bfloat16"]
    assert len(got["shares"]) == 5 * 2
    for target in got["targets"]:
        assert target["name"] in done.stdout
    ElementTree.parse(tmp_path / "operators_cpu.svg")


def test_targets_follow_from_the_numbers(results: Results) -> None:
    found = report().targets(results)
    least = 4 * 65536 * 256 * 64 / 1e11  # 64k tokens: flops bound (43 ms), bytes 40 ms; took 64
    assert [target.measured for target in found] == pytest.approx(
        [
            16384**2 / 1e6 / 16,
            1024,
            16384**2 / 1e6 / 2 / 32,
            4096,
            16384**2 / 1e6 / 2 / 32,
            2,
            1000 * least / 64,
            1,
            1.1,
            1,
            1,
            1.1,
            2.5,
        ]
    )
    no, yes = False, True
    assert [t.met for t in found] == [no, no, no, no, no, yes, yes, yes, yes, yes, yes, no, yes]


def test_each_target_reads_its_own_number(results: Results) -> None:
    """One number changed at a time: which of the verdicts move."""

    def moved(change: Results, value: str, factor: float) -> set[int]:
        before = report().targets(results)
        change[value] *= factor
        after = report().targets(results)
        change[value] /= factor
        return {i for i, (a, b) in enumerate(zip(before, after, strict=True)) if a != b}

    both = "forward + backward"
    latte_names = "Latte bidirectional", "Latte causal"
    for index, name in ((0, "SDPA full"), (2, "SDPA causal")):
        assert moved(row(results, name, 16384), "median_ms", 2) == {index}
        assert moved(row(results, name, 16384), "min_ms", 2) == set()
    assert moved(row(results, "SDPA full", 1024), "median_ms", 0.9) == {1}
    assert moved(row(results, "SDPA causal", 4096), "median_ms", 0.9) == {3}
    assert moved(row(results, "SDPA causal", 16384, both), "median_ms", 2) == {4}
    assert moved(row(results, latte_names[1], 16384, both), "median_ms", 2) == {4}
    assert moved(row(results, latte_names[0], 16384), "median_ms", 1.2) == {0, 6, 7}
    assert moved(row(results, latte_names[0], 32768), "median_ms", 2) == {6, 7}
    assert moved(row(results, latte_names[1], 32768), "median_ms", 2) == {5, 9}
    assert moved(row(results, latte_names[1], 131072), "median_ms", 2) == {9}
    assert moved(results["peaks"][1], "bytes", 2) == {8}
    assert moved(results["peaks"][-1], "bytes", 2) == {10}
    assert moved(results["decoding"][0], "median_ms", 2) == {11}
    assert moved(results["block"][1], "median_ms", 2) == {12}
    assert moved(results["rates"], "matmul_flops", 0.5) == {6}


def test_faster_from_is_the_start_of_the_last_unbroken_lead() -> None:
    faster_from = report().faster_from
    assert faster_from({64: 2, 128: 3}) == 64
    assert faster_from({64: 2, 128: 0.9, 256: 1.1, 512: 4}) == 256
    assert faster_from({64: 2, 128: 1}) == math.inf
    assert faster_from({}) is None


def test_the_roofline_is_the_tighter_of_products_and_memory(results: Results) -> None:
    tokens = 16384
    bytes_moved = 4 * 8 * tokens * (32 + 32 + 64 + 64)
    results["rates"]["copy_bytes"] = 1e9  # memory binds
    share = report().rooflines(results, "Latte bidirectional")[tokens]
    assert share == pytest.approx(bytes_moved / 1e9 / 0.016)
    flops = 4 * tokens**2 * 8 * 64
    for name, part in (("SDPA full", 1), ("SDPA causal", 2)):
        share = report().rooflines(results, name)[tokens]
        seconds = row(results, name, tokens)["median_ms"] / 1000
        assert share == pytest.approx(flops / part / 1e11 / seconds)


def test_what_was_not_run_is_neither_met_nor_missed(results: Results) -> None:
    results["times"] = [r for r in results["times"] if r["tokens"] <= 4096]
    results["peaks"] = results["decoding"] = results["block"] = []
    found = report().targets(results)
    assert [t.met for t in found] == [None, False, None, False] + [None] * 9
    text = report().tables(results)
    assert text.count("not measured") == 11 and text.count("MISSED") == 2
    json.dumps([target.as_row() for target in found], allow_nan=False)


def test_never_faster_is_missed_and_valid_json(results: Results) -> None:
    for tokens in GRID:
        row(results, "Latte bidirectional", tokens)["median_ms"] *= 1e6
    target = report().targets(results)[1]
    assert target.as_row() == target._asdict() | {"measured": None, "met": False}
    assert "never" in report().tables(results)


def test_the_picture_shows_every_contestant(results: Results) -> None:
    scan = row(results, "SDPA full", 64) | {"contestant": "sequential scan"}
    results["times"].append(scan)
    root = ElementTree.fromstring(importlib.import_module("operators_plot").picture(results))
    texts = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert set(measure().CONTESTANTS) <= set(texts)
    assert any(text is not None and "a < b" in text for text in texts)
    assert {"64", "256", "1,024", "262,144", "1 ms", "1 s"} <= set(texts)


def test_the_sequential_scan_is_causal_latte() -> None:
    torch.manual_seed(0)
    q, k = (torch.randn(2, 65, 3, 4, dtype=torch.float64, requires_grad=True) for _ in range(2))
    v = torch.randn(2, 65, 3, 5, dtype=torch.float64, requires_grad=True)
    gradient = torch.randn_like(v)
    got, expected = measure().sequential_scan(q, 9 * k, v), latte.naive.causal(q, 9 * k, v)
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(
        torch.autograd.grad(got, (q, k, v), gradient),
        torch.autograd.grad(expected, (q, k, v), gradient),
        rtol=0,
        atol=1e-10,
    )


def test_a_contestant_is_left_out_where_it_would_take_too_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """4 s of SDPA foretell 16 s at twice the tokens, more than the limit of 10 s."""
    module = measure()
    place = module.Place(torch.device("cpu"), torch.float32, 1)

    def made_up(works: dict[Any, Any], *_: Any) -> dict[Any, list[float]]:
        return {key: [4.0 if "SDPA" in key[0] else 1.0] for key in works}

    monkeypatch.setattr(module, "round_robin", made_up)
    monkeypatch.setattr(
        module, "CONTESTANTS",
        {n: c._replace(longest=4) if "scan" in n else c for n, c in module.CONTESTANTS.items()},
    )  # fmt: skip
    rows = module.times((1, 2, 4, 8), 10, place, 1)
    last = {r["contestant"]: r["tokens"] for r in rows}
    assert last == {
        "Latte bidirectional": 8,
        "Latte causal": 8,
        "SDPA full": 1,
        "SDPA causal": 1,
        "sequential scan": 4,
    }


def test_turns_are_counted_without_the_first_unless_it_takes_seconds() -> None:
    module = measure()
    place = module.Place(torch.device("cpu"), torch.float32, 1)
    calls: list[str] = []
    works = {name: lambda name=name: calls.append(name) for name in "ab"}
    seconds = module.round_robin(works, place, 8)
    assert [len(each) for each in seconds.values()] == [8, 8]
    assert calls.count("a") == calls.count("b") == 9
    assert all(set(calls[i : i + 2]) == {"a", "b"} for i in range(0, 18, 2))

    class Slow(module.Place):  # type: ignore[name-defined]
        def seconds(self, work: Any) -> float:
            return 2.0

    assert module.round_robin(works, Slow(*place), 8) == {"a": [2.0] * 3, "b": [2.0] * 3}


def test_peak_memory_counts_what_a_run_holds_at_once() -> None:
    """The softmaxes of q and k and the output are 256 floats each for a head and token."""
    module = measure()
    place = module.Place(torch.device("cpu"), torch.float32, 1)
    (found,) = module.peaks([("Latte bidirectional", "forward", 32768)], place)
    tokens_by_heads = 32768 * 8
    assert 4 * 64 * tokens_by_heads <= found["bytes"] <= 4 * 4 * 64 * tokens_by_heads
