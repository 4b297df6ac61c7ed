"""benchmarks/language.py compares models of one size on the same tokens, and can be stopped."""

import argparse
import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from encoders.language.causal_lm import parameter_count

Script = Callable[[str], Any]


def test_mixers_have_equal_parameters(script: Script) -> None:
    counts = {
        name: parameter_count(network.build(10))
        for name, network in script("language").MIXERS.items()
    }
    assert len(counts) == 4
    assert max(counts.values()) < 1.02 * min(counts.values())


@pytest.fixture
def args(script: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> argparse.Namespace:
    """Arguments of a benchmark of two small models on a small text."""
    language = script("language")
    small = {name: replace(language.MIXERS[name], dim=16, depth=1) for name in ("softmax", "Latte")}
    monkeypatch.setattr(language, "MIXERS", small)
    monkeypatch.setattr(language, "STEPS", {"characters": 2, "tokens": 2})
    for words in language.TOKENIZATIONS.values():
        monkeypatch.setitem(words, "length", 64)
    text = tmp_path / "text.txt"
    text.write_text("Some words about nothing in particular.\n" * 40, encoding="utf-8")
    return argparse.Namespace(
        text=[str(text)], val=[str(text)], lr=1e-3, seed=0, out=tmp_path / "curves.jsonl"
    )


def test_run_all_is_resumable(script: Script, args: argparse.Namespace) -> None:
    language = script("language")
    language.run_all(args)
    rows = language.rows_of(args.out)
    assert sum(row.get("final", False) for row in rows) == 4
    assert [row["step"] for row in rows[:3]] == [1, 2, 2]
    before = args.out.read_text()
    language.run_all(args)
    assert args.out.read_text() == before
    lines = before.splitlines()
    args.out.write_text("\n".join(lines[:-1]) + "\n")  # the last run lost its end
    language.run_all(args)
    again = language.rows_of(args.out)
    for row in [*rows, *again]:
        del row["cpu_seconds"]
    assert again == rows


def final(mixer: str, losses: list[float]) -> dict[str, Any]:
    row = {"tokenization": "tokens", "mixer": mixer, "seed": 0, "final": True, "cpu_seconds": 1}
    return row | {"block_losses": losses, "parameters": 1000, "characters_per_token": 2.0}


def test_table_by_hand(script: Script) -> None:
    ln2 = math.log(2)
    rows = [final("softmax", [2 * ln2, 4 * ln2]), final("Latte", [3 * ln2, 5 * ln2])]
    lines = script("language_report").table(json.loads(json.dumps(rows))).splitlines()
    assert "| 1.500 | 8.00 |  | 1 |" in lines[2]
    assert "| 2.000 | 16.00 | +0.693 (+0.693 to +0.693) | 1 |" in lines[3]


def test_curves_picture(script: Script, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    row = {"tokenization": "tokens", "mixer": "Latte", "seed": 0, "tokens_per_step": 8}
    rows = [row | {"step": step, "val/perplexity": 9.0 / step} for step in (1, 2)]
    script("language_report").curves_picture(rows, tmp_path / "x.svg")
    assert (tmp_path / "x.svg").read_text(encoding="utf-8").count("<path") > 10
