"""What the README tells people to type works."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest

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
