"""`vqa convert` through the real command line: converts, resumes, refuses."""

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_language_models import SIZES
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

import encoders.language  # noqa: F401 - registers converted models
from encoders.language import latte_layers
from vqa import tokenizer as tokenizers
from vqa.__main__ import main
from vqa.training import convert as training
from vqa.training.conversion import AttentionTransfer, NextTokenTuning

TEXT = (
    "The quick brown fox jumps over the lazy dog; then the dog sleeps, and the fox runs on. " * 60
)
OPTIONS = ["--window", "8", "--latents", "4", "--sinks", "2", "--length", "48", "--recall", "0"]
SHORT = [*OPTIONS, "--transfer-steps", "3", "--steps", "3", "--lora-rank", "2"]


BAR = re.compile(r"Epoch 0|━|train/|it/s|^[\s\d.:•]*$")
"""Lines of a progress bar, which wrap."""


@pytest.fixture(autouse=True, scope="module")
def checkpoint_every_step() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "CHECKPOINT_STEPS", 1)
        yield


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny Llama and its tokenizer in `model`, and a text."""
    folder = tmp_path_factory.mktemp("sources")
    tokenizer = tokenizers.train([TEXT], 320)
    torch.manual_seed(0)
    config = LlamaConfig(
        **(SIZES | {"vocab_size": len(tokenizer), "eos_token_id": tokenizer.eos_token_id}),
        initializer_range=0.3,
    )
    LlamaForCausalLM(config).save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")
    (folder / "text.txt").write_text(TEXT, encoding="utf-8")
    return folder


def arguments(sources: Path, out: Path, *options: str) -> list[str]:
    text = ["--text", str(sources / "text.txt")]
    return ["convert", str(sources / "model"), str(out), *text, *options]


def run(sources: Path, out: Path, *options: str) -> int:
    return main(arguments(sources, out, *options))


def weights(folder: Path) -> dict[str, Tensor]:
    model = AutoModelForCausalLM.from_pretrained(folder)
    return dict(model.named_parameters())


def same(one: Path, other: Path) -> bool:
    first, second = weights(one), weights(other)
    return all(weight.equal(second[name]) for name, weight in first.items())


@pytest.fixture(scope="module")
def whole(sources: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What an undisturbed conversion writes."""
    out = tmp_path_factory.mktemp("whole") / "out"
    assert run(sources, out, *SHORT) == 0
    return out


def test_convert_command_writes_a_model_that_generates(whole: Path) -> None:
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= set(os.listdir(whole))
    assert not (whole / "training").exists()
    model, tokenizer = (
        AutoModelForCausalLM.from_pretrained(whole),
        AutoTokenizer.from_pretrained(whole),
    )
    assert model.config.model_type == "latte_llama" and len(latte_layers(model)) == 2
    assert model.config.latte["window"] == 8 and model.config.use_cache
    prompt = tokenizer("The quick brown", return_tensors="pt", add_special_tokens=False)
    tokens = model.generate(**prompt, max_new_tokens=5, min_new_tokens=5, do_sample=False)
    assert tokens.shape[1] == prompt["input_ids"].shape[1] + 5


def test_convert_command_output_is_a_bar_and_one_line(
    sources: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nothing is logged, warned of or written into the current directory, also on resuming."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with pytest.raises(Interrupted):
        interrupt(monkeypatch, NextTokenTuning, 2)
        run(sources, tmp_path / "out", *SHORT)
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path / "here")
    assert run(sources, tmp_path / "out", *SHORT) == 0
    captured = capfd.readouterr()
    assert not os.listdir(tmp_path / "here")
    lines = (captured.out + captured.err).replace("\r", "\n").splitlines()
    told = [line for line in lines if not BAR.search(line)]
    assert told == [f"wrote {tmp_path / 'out'}"]
    assert captured.out.splitlines()[-1] == told[0]


class Interrupted(Exception):
    """Stands for a kill."""


def interrupt(monkeypatch: pytest.MonkeyPatch, stage: Any, step: int) -> None:
    """Stop the training of `stage` when it begins its step number `step`, from 0 on."""
    original: Callable[..., Tensor] = stage.training_step

    def training_step(self: Any, batch: Any, index: int) -> Tensor:
        if self.global_step == step:
            raise Interrupted
        return original(self, batch, index)

    monkeypatch.setattr(stage, "training_step", training_step)


@pytest.mark.parametrize(
    "stops",
    (
        [(AttentionTransfer, 0)],
        [(AttentionTransfer, 2)],
        [(NextTokenTuning, 0)],
        [(AttentionTransfer, 1), (NextTokenTuning, 1), (NextTokenTuning, 2)],
    ),
    ids=("first step", "first stage", "second stage, first step", "three times"),
)
def test_convert_command_continues_to_the_same_weights(
    stops: list[tuple[Any, int]],
    sources: Path,
    whole: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = tmp_path / "out"
    for stage, step in stops:
        with monkeypatch.context() as patch, pytest.raises(Interrupted):
            interrupt(patch, stage, step)
            run(sources, out, *SHORT)
        assert (out / "training" / "settings.json").exists()
    assert run(sources, out, *SHORT) == 0
    assert same(out, whole)


def test_convert_command_continues_with_recall_and_accumulation(
    sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = [*SHORT, "--length", "160", "--recall", "0.5", "--accumulate", "2"]
    options += ["--lora-rank", "0", "--init", "random", "--softmax-layers", "1"]
    assert run(sources, tmp_path / "calm", *options) == 0
    with monkeypatch.context() as patch, pytest.raises(Interrupted):
        interrupt(patch, NextTokenTuning, 2)
        run(sources, tmp_path / "stopped", *options)
    assert run(sources, tmp_path / "stopped", *options) == 0
    assert same(tmp_path / "calm", tmp_path / "stopped")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "calm")
    assert [layer.layer_idx for layer in latte_layers(model)] == [0]


def test_convert_command_refuses_other_settings_on_an_unfinished_folder(
    sources: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with monkeypatch.context() as patch, pytest.raises(Interrupted):
        interrupt(patch, AttentionTransfer, 0)
        run(sources, tmp_path / "out", *SHORT)
    capsys.readouterr()
    assert run(sources, tmp_path / "out", *SHORT, "--latents", "5", "--lr", "1e-2") == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "other settings: latents was 4, is 5, lr was 0.0005, is 0.01" in error
    assert run(sources, tmp_path / "out", *SHORT) == 0


def test_convert_command_transfer_trains_new_parameters_alone(
    sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the second stage pretrained weights are equal bit for bit, and the error falls."""
    monkeypatch.setattr(training.shutil, "rmtree", lambda _: None)
    options = [*OPTIONS, "--transfer-steps", "30", "--steps", "0", "--latent-lr", "1e-2"]
    assert run(sources, tmp_path / "out", *options) == 0
    before, after = weights(sources / "model"), weights(tmp_path / "out")
    assert len(after) == len(before) + 2 * 5
    assert all(weight.equal(after[name]) for name, weight in before.items())
    logs = tmp_path / "out" / "training" / "transfer" / "metrics.csv"
    with logs.open(encoding="utf-8") as lines:
        errors = [float(row["train/transfer"]) for row in csv.DictReader(lines)]
    assert len(errors) == 30 and sum(errors[-5:]) < 0.8 * sum(errors[:5])


def test_convert_command_without_transfer_trains_all_weights(sources: Path, tmp_path: Path) -> None:
    options = [*OPTIONS, "--transfer-steps", "0", "--steps", "2", "--lora-rank", "0"]
    assert run(sources, tmp_path / "out", *options) == 0
    before, after = weights(sources / "model"), weights(tmp_path / "out")
    changed = {name for name, weight in before.items() if not weight.equal(after[name])}
    assert changed == set(before)


def test_convert_command_trains_in_mixed_precision(sources: Path, tmp_path: Path) -> None:
    assert run(sources, tmp_path / "out", *SHORT, "--precision", "bf16-mixed") == 0
    after = weights(tmp_path / "out")
    assert all(weight.isfinite().all() for weight in after.values())
    assert not after["model.layers.0.self_attn.q_proj.weight"].equal(
        weights(sources / "model")["model.layers.0.self_attn.q_proj.weight"]
    )


def test_convert_command_cannot_write_below_a_file(
    sources: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("a")
    assert run(sources, tmp_path / "file" / "out", *SHORT) == 2
    error = capfd.readouterr().err
    assert error.count("\n") == 1 and "cannot write to" in error and "Not a directory" in error


def test_convert_command_without_training_only_initialises(sources: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        options = [*OPTIONS, "--transfer-steps", "0", "--steps", "0"]
        assert run(sources, tmp_path / name, *options) == 0
    assert same(tmp_path / "one", tmp_path / "two")
    before, after = weights(sources / "model"), weights(tmp_path / "one")
    assert all(weight.equal(after[name]) for name, weight in before.items())


def gpt2(folder: Path) -> None:
    (folder / "config.json").write_text(json.dumps({"model_type": "gpt2"}), encoding="utf-8")


def truncate(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:999])


MISTAKES: dict[str, tuple[Callable[[Path], Any] | None, list[str], str]] = {
    "missing text": (None, ["--text", "nowhere.txt"], "nowhere.txt: No such file"),
    "empty text": (None, ["--text", "EMPTY"], "empty.txt is empty"),
    "not UTF-8": (None, ["--text", "LATIN"], "latin.txt is not UTF-8 text: byte 3"),
    "short text": (None, ["--length", "9999999"], "fewer than a block of 9999999"),
    "no model": (shutil.rmtree, [], "it has no config.json"),
    "no config": (lambda x: (x / "config.json").unlink(), [], "it has no config.json"),
    "bad config": (lambda x: (x / "config.json").write_text("{"), [], "is no configuration"),
    "other family": (gpt2, [], "cannot convert a gpt2 model; known are llama, mistral, qwen2"),
    "no weights": (lambda x: (x / "model.safetensors").unlink(), [], "cannot load the weights"),
    "bad weights": (truncate, [], "cannot load the weights"),
    "no tokenizer": (lambda x: (x / "tokenizer.json").unlink(), [], "no tokenizer that loads"),
    "short length": (None, ["--length", "10"], "10 tokens fit into window and sinks, 10 tokens"),
    "window": (None, ["--window", "0"], "window 0"),
    "sinks": (None, ["--sinks", "-1"], "sinks -1"),
    "recall": (None, ["--recall", "0.5"], "recall needs sequences of 152 tokens or more"),
    "layer": (None, ["--softmax-layers", "2"], "the model has 2 layers"),
    "layers": (None, ["--softmax-layers", "0;1"], "takes numbers with commas, not '0;1'"),
    "init": (None, ["--init", "best"], "init must be kmeans, pca, random, not 'best'"),
    "all layers": (None, ["--softmax-layers", "0,1"], "names all layers: none is converted"),
    "latents": (None, ["--latents", "100000000"], "latents 1 to 4096 a head"),
    "gain": (None, ["--gain", "inf"], "--gain must be a finite number above 0, not inf"),
    "lr": (None, ["--lr", "nan"], "--lr must be a finite number above 0, not nan"),
    "latent lr": (None, ["--latent-lr", "-1"], "--latent-lr must be a finite number above 0"),
    "seed": (None, ["--seed", "4294967295"], "--seed must be 0 to 4294967294"),
    "precision": (None, ["--precision", "foo"], "must be 32-true, bf16-mixed, 16-mixed, not 'foo'"),
}


@pytest.mark.parametrize(("spoil", "options", "sentence"), MISTAKES.values(), ids=list(MISTAKES))
def test_convert_command_mistakes_are_one_sentence(
    spoil: Callable[[Path], Any] | None,
    options: list[str],
    sentence: str,
    sources: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """And nothing is written: the corrected command may use the same folder."""
    shutil.copytree(sources, tmp_path / "sources")
    (tmp_path / "empty.txt").write_text(" \n")
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9 au lait")
    if spoil is not None:
        spoil(tmp_path / "sources" / "model")
    places = {"EMPTY": str(tmp_path / "empty.txt"), "LATIN": str(tmp_path / "latin.txt")}
    options = [places.get(word, word) for word in options]
    assert run(tmp_path / "sources", tmp_path / "out", *SHORT, *options) == 2
    captured = capfd.readouterr()
    assert captured.out == "" and captured.err.startswith("vqa: ")
    assert captured.err.count("\n") == 1 and sentence in captured.err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("kind", ("folder", "file", "finished"))
def test_convert_command_refuses_an_existing_folder(
    kind: str, sources: Path, whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    if kind == "folder":
        out.mkdir()
        (out / "note.txt").touch()
    elif kind == "file":
        out.touch()
    else:
        out = whole
    assert run(sources, out, *SHORT) == 2
    assert "exists already and is no unfinished conversion" in capsys.readouterr().err


KILLER = """
import os, random, signal, sys, time
from pathlib import Path
import torch
torch.set_num_threads(1)
import vqa.training.convert as training
from vqa.__main__ import main
training.CHECKPOINT_STEPS = 1
work, kills, rng = Path(sys.argv[1]), int(sys.argv[2]), random.Random(0)
killed = 0
while True:
    child = os.fork()
    if child == 0:
        os._exit(main(sys.argv[3:]))
    if killed < kills:
        last = work / ("transfer" if killed % 2 == 0 else "tuning") / "last.ckpt"
        end = time.monotonic() + 120
        while time.monotonic() < end and not last.exists():
            time.sleep(0.01)
        time.sleep(rng.uniform(0, 0.5))
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if not os.WIFSIGNALED(status):
        sys.exit(status or (0 if killed == kills else "ended after %d kills" % killed))
    killed += 1
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_convert_command_killed_continues_to_the_same_weights(
    sources: Path, tmp_path: Path
) -> None:
    options = [*OPTIONS, "--transfer-steps", "40", "--steps", "40"]
    found = []
    for name, kills in (("calm", 0), ("killed", 4)):
        out = tmp_path / name
        command = [sys.executable, "-c", KILLER, str(out / "training"), str(kills)]
        done = subprocess.run(
            [*command, *arguments(sources, out, *options)],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])},
        )
        assert done.returncode == 0, done.stderr[-3000:]
        found.append(out)
    assert same(*found)
