"""benchmarks/context.py measures context lengths on the same tokens, resumes and reports."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import torch
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

from encoders.language import convert, latte_layers
from vqa import tokenizer as tokenizers

Script = Callable[[str], Any]
WINDOW = 16
LENGTHS = (64, 128, 256)
TEXT = "Some text about nothing in particular, with 7 words and 3 numbers. "


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A tiny Llama with a tokenizer, and a converted one with its gates half open."""
    torch.manual_seed(0)
    root = tmp_path_factory.mktemp("models")
    tokenizer = tokenizers.train([TEXT], 270)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        initializer_range=0.5,
    )
    model = LlamaForCausalLM(config)
    model.save_pretrained(root / "original")
    tokenizer.save_pretrained(root / "original")
    convert(model, window=WINDOW, latents=4)
    for layer in latte_layers(model):
        torch.nn.init.zeros_(layer.gate.bias)
    model.save_pretrained(root / "trained")
    return {"original": root / "original", "trained": root / "trained"}


@pytest.fixture(scope="module")
def documents() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {name: torch.randint(5, 250, (300,), generator=generator) for name in ("a", "b")}


@pytest.fixture
def small(script: Script, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The layout of a stretch of 256 tokens; chunks that end in the middle of things."""
    monkeypatch.setattr(script("context_models"), "CHUNK", 48)
    for function in ("hidden_chunks", "prefill"):
        monkeypatch.setattr(getattr(script("context_models"), function), "__defaults__", (48,))
    return script("context_perplexity").Layout(stretch=256, scored=32, short=64)


def test_document_spans_score_the_same_tokens_at_every_length(script: Script, small: Any) -> None:
    spans = script("context_perplexity").document_spans(300, LENGTHS, 1, small)
    for length in (16, *LENGTHS):
        spans = script("context_perplexity").document_spans(300, [length], 1, small)
        own = [span for span in spans if span.kind == "same tokens"]
        assert sorted(n for s in own for n in range(s.first, s.end)) == list(range(246, 278))
        assert {span.end - span.start for span in own} == {length}
        assert all(span.first - span.start >= length // 2 for span in own)


def test_document_spans_by_default(script: Script) -> None:
    module = script("context_perplexity")
    for length in module.LENGTHS:
        spans = module.document_spans(40_000, [length])
        same = [span for span in spans if span.kind == "same tokens"]
        assert len(same) == max(1, 4096 // (length // 2))
        assert sum(span.end - span.first for span in same) == 4096
        (half,) = [span for span in spans if span.kind == "last half"]
        assert half.end - half.first == length // 2 == half.first - half.start
    # The pass over the whole stretch serves both kinds.
    assert same[0].start == half.start


def test_document_spans_add_short_sequences(script: Script, small: Any) -> None:
    spans = script("context_perplexity").document_spans(300, [64, 128], 3, small)
    halves = [span for span in spans if span.kind == "last half"]
    assert [(s.length, s.start) for s in halves] == [(64, 22), (64, 59), (64, 177), (128, 22)]


@pytest.mark.parametrize(("tokens", "length"), [(255, 64), (300, 257)])
def test_document_spans_need_a_stretch(
    script: Script, small: Any, tokens: int, length: int
) -> None:
    with pytest.raises(ValueError, match=f"{tokens} tokens and a context of {length}"):
        script("context_perplexity").document_spans(tokens, [length], 1, small)


@pytest.mark.parametrize("name", ["original", "trained"])
@torch.no_grad()
def test_score_spans_equals_the_whole_sequence(
    script: Script,
    small: Any,
    folders: dict[str, Path],
    documents: dict[str, torch.Tensor],
    name: str,
) -> None:
    module = script("context_perplexity")
    model, ids = AutoModelForCausalLM.from_pretrained(folders[name]).eval(), documents["a"]
    spans = module.document_spans(len(ids), LENGTHS, 2, small)
    scores = dict(module.score_spans(model, ids, spans))
    assert set(scores) == set(spans)
    for span, nats in scores.items():
        logits = model(ids[None, span.start : span.end]).logits[0]
        expected = torch.nn.functional.cross_entropy(
            logits[span.first - span.start - 1 : -1], ids[span.first : span.end], reduction="sum"
        )
        count = span.end - span.first
        assert sum(nats) / count == pytest.approx(float(expected) / count, abs=1e-4)


def specs(script: Script, folders: dict[str, Path], *names: str) -> list[Any]:
    found: list[Any] = script("context_models").model_specs(names, folders, WINDOW)
    return found


def test_measure_perplexity_resumes(
    script: Script,
    small: Any,
    folders: dict[str, Path],
    documents: dict[str, torch.Tensor],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    module, models, path = script("context_perplexity"), script("context_models"), tmp_path / "x"
    chosen = specs(script, folders, "original", "window")

    def measure() -> None:
        log = models.MeasurementLog(path)
        module.measure_perplexity(chosen, documents, (64, 128), 1, log, small)

    measure()
    before = path.read_text()
    assert len(before.splitlines()) == 2 * 2 * 2 * (1 + 1)
    path.write_text(before[:-20])  # killed while it wrote the last row
    measure()
    rows, again = (
        [json.loads(line) for line in text.splitlines()] for text in (before, path.read_text())
    )
    for row, other in zip(rows, again, strict=True):
        assert other.pop("block_nats") == pytest.approx(row.pop("block_nats"), abs=1e-2)
        assert other == row
    before = path.read_text()
    monkeypatch.setattr(models.ModelSpec, "load", lambda self: pytest.fail("nothing is missing"))
    measure()
    assert path.read_text() == before


def test_model_specs_differ_in_window_and_sinks(
    script: Script, folders: dict[str, Path], documents: dict[str, torch.Tensor]
) -> None:
    chosen = specs(script, folders, "original", "window", "sinks", "trained")
    models = [spec.load() for spec in chosen]
    sizes = [[(a.window, a.sinks) for a in latte_layers(model)] for model in models]
    assert sizes == [[], [(16, 0)] * 2, [(16, 4)] * 2, [(16, 4)] * 2]
    assert len({spec.fingerprint() for spec in chosen}) == 4
    ids = documents["a"][None, :WINDOW]
    with torch.no_grad():
        original, window, sinks, _ = (model(ids).logits for model in models)
    torch.testing.assert_close(window, original, rtol=0, atol=1e-4)
    torch.testing.assert_close(sinks, original, rtol=0, atol=1e-4)


def test_model_specs_need_folders_and_one_window(script: Script, folders: dict[str, Path]) -> None:
    with pytest.raises(ValueError, match="untrained needs --untrained"):
        specs(script, folders | {"untrained": None}, "untrained")
    with pytest.raises(ValueError, match="has a window of 16, not 8"):
        script("context_models").model_specs(["trained"], folders, 8)


def test_time_prefill_and_decode(
    script: Script, small: Any, folders: dict[str, Path], documents: dict[str, torch.Tensor]
) -> None:
    module, ids = script("context_speed"), documents["a"].tolist()
    caches = {}
    for spec in specs(script, folders, "original", "trained"):
        for length in (64, 256):
            row = module.time_prefill(spec, ids[:length], 48, 1)
            assert row["cpu_seconds"] > 0 and row["peak_bytes"] >= 0
            caches[spec.name, length] = row["cache_bytes"]
        row = module.time_decode(spec, ids, (64, 256), 1)
        assert {len(times) for times in row["step_ms"].values()} == {module.STEPS}
        assert row["cache_bytes"] == {str(n): caches[spec.name, n] for n in (64, 256)}
    assert caches["original", 256] == 4 * caches["original", 64]
    assert caches["trained", 256] == caches["trained", 64]


def test_reset_peak_forgets_an_earlier_peak(script: Script) -> None:
    module = script("context_speed")
    torch.ones(1 << 25)  # 128 MiB
    before = module.reset_peak()
    assert module.memory.peak() - before < 1 << 24
    torch.ones(1 << 24)
    assert (1 << 26) * 0.9 < module.memory.peak() - before < (1 << 26) * 1.3


def test_build_trial_hides_the_number_outside_the_window(
    script: Script, folders: dict[str, Path], documents: dict[str, torch.Tensor]
) -> None:
    module, tokenizer = script("context_passkey"), tokenizers.load(folders["original"])
    trials = [module.build_trial(tokenizer, documents, 256, i, WINDOW) for i in range(20)]
    filler = 0
    for trial in trials:
        assert len(trial.prompt) == 256
        text = tokenizer.decode(trial.prompt)
        assert text.count(f"The pass key is {trial.number}. Remember it.") == 1
        assert text.endswith("What is the pass key? The pass key is")
        after = text.rsplit(f"{trial.number} is the pass key.", 1)[1]
        filler = len(tokenizer(after)["input_ids"])
        assert filler > WINDOW
    depths = sorted(trial.depth for trial in trials)
    gaps = [b - a for a, b in zip(depths, depths[1:], strict=False)]
    assert depths[0] < 0.1 and max(gaps) < 3 * depths[-1] / len(depths)
    assert len({trial.number for trial in trials}) == 20
    with pytest.raises(ValueError, match="no text outside the window of 256"):
        module.build_trial(tokenizer, documents, 256, 0, 256)


@pytest.mark.parametrize(("answers", "right"), [("exact", 3), ("wrong", 0)])
def test_measure_passkey_counts_right_answers(
    script: Script,
    folders: dict[str, Path],
    documents: dict[str, torch.Tensor],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    answers: str,
    right: int,
) -> None:
    module, tokenizer = script("context_passkey"), tokenizers.load(folders["original"])
    log = script("context_models").MeasurementLog(tmp_path / "x")

    def made_up(model: Any, tokenizer: Any, prompt: list[int]) -> str:
        number = tokenizer.decode(prompt).split("The pass key is ")[1][:5]
        return f"{number}. And" if answers == "exact" else f"{number[:4]}x"

    monkeypatch.setattr(module, "answer", made_up)
    chosen = specs(script, folders, "original")
    for trials in (2, 3, 3):
        module.measure_passkey(chosen, documents, tokenizer, [256], trials, WINDOW, log)
    assert [row["trial"] for row in log.rows] == [0, 1, 2]
    assert sum(row["right"] for row in log.rows) == right


def test_answer_is_the_greedy_continuation(
    script: Script, small: Any, folders: dict[str, Path], documents: dict[str, torch.Tensor]
) -> None:
    module, tokenizer = script("context_passkey"), tokenizers.load(folders["original"])
    for name in ("original", "trained"):
        model = AutoModelForCausalLM.from_pretrained(folders[name]).eval()
        ids = documents["a"][None, :100]
        expected = model.generate(
            ids, max_new_tokens=8, do_sample=False, eos_token_id=None, pad_token_id=0
        )
        text = tokenizer.decode(expected[0, 100:]).strip()
        assert module.answer(model, tokenizer, ids[0].tolist()) == text


def span_row(model: str, length: int, nats: list[float], weights: str = "x") -> dict[str, Any]:
    row = {"task": "perplexity", "model": model, "weights": weights, "document": "a"}
    row |= {"kind": "same tokens", "length": length, "start": 0, "first": 512, "end": 1024}
    return row | {"block_nats": nats}


def test_summarize_by_hand(script: Script) -> None:
    module, ln2 = script("context_statistics"), 256 * math.log(2)
    rows = [
        span_row("trained", 1024, [9 * ln2, 9 * ln2], weights="of an earlier training"),
        span_row("original", 1024, [3 * ln2, 3 * ln2]),
        span_row("trained", 1024, [2 * ln2, 3 * ln2]),
        span_row("trained", 16384, [ln2, 2 * ln2]),
    ]
    rows += [
        {"task": "passkey", "model": "sinks", "weights": "x", "length": 64, "right": n < 3}
        for n in range(10)
    ]
    figures = module.summarize(rows)
    perplexities = {(f["model"], f["length"]): f["perplexity"] for f in figures["perplexity"]}
    expected = {("original", 1024): 8, ("trained", 1024): 2**2.5, ("trained", 16384): 2**1.5}
    assert perplexities == pytest.approx(expected)
    (ratio,) = figures["over_models"]
    assert ratio["ratio"] == pytest.approx(2**-0.5)
    assert (ratio["low"], ratio["high"]) == pytest.approx((0.5, 1))
    (ratio,) = figures["over_lengths"]
    assert (ratio["baseline"], ratio["ratio"], ratio["high"]) == pytest.approx((1024, 0.5, 0.5))
    (passkey,) = figures["passkey"]
    assert (passkey["right"], passkey["trials"]) == (3, 10)
    assert (passkey["low"], passkey["high"]) == pytest.approx((0.1078, 0.6032), abs=1e-4)


def test_wilson_at_the_ends(script: Script) -> None:
    wilson = script("context_statistics").wilson
    assert wilson(0, 10) == pytest.approx((0, 0.2775), abs=1e-4)
    assert wilson(10, 10) == pytest.approx((0.7225, 1), abs=1e-4)


def test_commands_measure_and_report(
    script: Script,
    small: Any,
    folders: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    context, speed = script("context"), script("context_speed")
    monkeypatch.setattr(script("context_perplexity").Layout, "__new__", lambda _: small)
    monkeypatch.setattr(speed, "in_fresh_process", lambda function, *args: function(*args))
    text, out = tmp_path / "a.txt", tmp_path / "results" / "context.jsonl"
    text.write_text(TEXT * 40, encoding="utf-8")
    options = ["--text", str(text), "--window", str(WINDOW), "--out", str(out)]
    options += [item for name, path in folders.items() for item in (f"--{name}", str(path))]
    context.main(["perplexity", *options, "--lengths", "64", "128", "--sequences", "2"])
    context.main(["speed", *options, "--lengths", "64", "128"])
    context.main(["passkey", *options, "--lengths", "192", "--trials", "2"])
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    tasks = [row["task"] for row in rows]
    counts = {task: tasks.count(task) for task in dict.fromkeys(tasks)}
    assert counts == {"perplexity": 4 * (3 + 2), "prefill": 8, "decode": 2, "passkey": 6}
    pytest.importorskip("matplotlib")
    context.main(["report", "--out", str(out)])
    printed = capsys.readouterr().out
    assert printed.count("\n\n|") == 7
    assert "| N | original | window | sinks | trained |" in printed
    assert printed.count("/2 (") == 3
    assert set(json.loads(out.with_suffix(".json").read_text())) >= {"perplexity", "passkey"}
    texts = out.with_suffix(".svg").read_text()
    ElementTree.fromstring(texts)
    assert all(f"trained{end}" in texts for end in ("", ", one pass", ", chunks"))
    with pytest.raises(SystemExit):
        context.main(["perplexity", *options, "--lengths", "512"])
    assert "stretch of 256 tokens" in capsys.readouterr().err
