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
    monkeypatch.setattr(language, "STEPS", {"characters": 4, "tokens": 4})
    monkeypatch.setattr(language, "POINTS", 4)
    monkeypatch.setattr(language, "SEGMENTS", 2)
    for words in language.TOKENIZATIONS.values():
        monkeypatch.setitem(words, "length", 64)
    text = tmp_path / "text.txt"
    text.write_text("Some words about nothing in particular.\n" * 40, encoding="utf-8")
    return argparse.Namespace(
        text=[str(text)], val=[str(text)], lr=1e-3, seed=0, out=tmp_path / "curves.jsonl"
    )


def curves(language: Any, path: Path) -> dict[Any, Any]:
    """What was measured, without times."""
    unlike = ("cpu_seconds", "segment")
    return {
        (*language.key_of(row), row["step"], bool(row.get("final"))): {
            name: value for name, value in row.items() if name not in unlike
        }
        for row in language.rows_of(path)
    }


def test_run_all_is_resumable(
    script: Script, args: argparse.Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In segments, in one go, and after a loss of the end: the same figures."""
    language = script("language")
    language.run_all(args)
    expected = curves(language, args.out)
    assert len(expected) == 4 * (4 + 1)
    before = args.out.read_text()
    language.run_all(args)
    assert args.out.read_text() == before

    args.out.write_text("\n".join(before.splitlines()[:-2]) + "\n")  # stopped in a segment
    language.checkpoint_of(args.out, "tokens", "Latte", 0).unlink()
    language.run_all(args)
    assert curves(language, args.out) == expected

    args.out = args.out.with_name("whole.jsonl")
    monkeypatch.setattr(language, "SEGMENTS", 1)
    monkeypatch.setattr(language, "TOKENIZATIONS", {"tokens": language.TOKENIZATIONS["tokens"]})
    language.run_all(args)
    whole = curves(language, args.out)
    assert whole == {key: row for key, row in expected.items() if key[0] == "tokens"}


def final(mixer: str, losses: list[float]) -> dict[str, Any]:
    row = {
        "tokenization": "tokens",
        "mixer": mixer,
        "seed": 0,
        "final": True,
        "cpu_seconds": 1,
        "segment": 9,
    }
    return row | {"block_losses": losses, "parameters": 1000, "characters_per_token": 2.0}


def test_table_by_hand(script: Script) -> None:
    ln2 = math.log(2)
    rows = [final("softmax", [2 * ln2, 4 * ln2]), final("Latte", [3 * ln2, 5 * ln2])]
    lines = script("language_report").table(json.loads(json.dumps(rows))).splitlines()
    assert "| 1.500 | 8.00 |  | 1 |" in lines[2]
    assert "| 2.000 | 16.00 | +0.693 (+0.693 to +0.693) | 1 |" in lines[3]


def test_equal_steps_table_ends_where_the_slowest_run_is(script: Script) -> None:
    rows = [
        {"tokenization": "tokens", "seed": 0, "mixer": mixer, "step": step}
        | {"val/bits_per_character": 2.0 + step, "val/perplexity": 10.0 * step}
        for mixer, steps in (("softmax", (1, 2, 3)), ("Latte", (1, 2)))
        for step in steps
    ]
    assert script("language_report").equal_steps_table(rows).splitlines()[2:] == [
        "| tokens | 0 | 2 | softmax | 4.00 | 20.0 |",
        "| tokens | 0 | 2 | Latte | 4.00 | 20.0 |",
    ]


def test_curves_picture(script: Script, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    row = {"tokenization": "tokens", "mixer": "Latte", "seed": 0, "tokens_per_step": 8}
    rows = [row | {"step": step, "val/perplexity": 9.0 / step} for step in (1, 2)]
    script("language_report").curves_picture(rows, tmp_path / "x.svg")
    assert (tmp_path / "x.svg").read_text(encoding="utf-8").count("<path") > 10
