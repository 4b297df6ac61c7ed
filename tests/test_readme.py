"""What the README tells people to type works."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from transformers import LlamaConfig, LlamaForCausalLM

from vqa import tokenizer as tokenizers
from vqa.__main__ import main

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def test_python_code_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    codes = blocks("python")
    assert codes
    for code in codes:
        names: dict[str, Any] = {}
        exec(code, names)
        answer = names["answer"]
        assert (answer["answer"] if isinstance(answer, dict) else answer.answer) == "green"


def test_language_model_code_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a tiny random model in place of the one that it names."""
    monkeypatch.chdir(tmp_path)
    tokenizer = tokenizers.train(iter([]), tokenizers.BYTES)
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 1}
    tokens = {"vocab_size": len(tokenizer), "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    LlamaForCausalLM(LlamaConfig(**sizes, **heads, **tokens)).save_pretrained("tiny")
    tokenizer.save_pretrained("tiny")
    (code,) = blocks("python language-model")
    named = '"HuggingFaceTB/SmolLM2-135M-Instruct"'
    assert named in code
    names: dict[str, Any] = {}
    exec(code.replace(named, '"tiny"'), names)
    assert type(names["model"]).__name__ == "LatteLlamaForCausalLM"
    assert (tmp_path / "latte-lm" / "model.safetensors").is_file()


def test_first_command_answers(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """After `pip install .`, the command and the first line it is said to print."""
    monkeypatch.chdir(ROOT)
    install, _, ask = blocks("sh")[0].strip().partition(" && ")
    assert install == "pip install ."
    assert main(shlex.split(ask)[1:]) == 0
    printed = capsys.readouterr().out.splitlines()
    said = blocks("text")[0].splitlines()
    assert printed[0].split()[0] == said[0].split()[0] == "green"
    assert len(printed) == len(said)


def test_commands_exist() -> None:
    """Every `vqa` line names a command and files that are there."""
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    commands = [shlex.split(line, comments=True) for line in lines if line.startswith("vqa ")]
    assert {"fit", "export", "ask", "evaluate"} <= {command[1] for command in commands}
    for command in commands:
        for word in command:
            if word.startswith("configs/"):
                assert (ROOT / word).is_file()


def test_linked_files_exist() -> None:
    links = re.findall(r"\]\((?!http)([^)#]+)\)", README)
    assert links and all((ROOT / link).is_file() for link in links)
