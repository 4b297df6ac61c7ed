"""Help and mistyped commands come at once: nothing slow is imported for them."""

import subprocess
import sys

import pytest

from vqa.__main__ import TRAINING, app

SLOW = ("torch", "transformers", "numpy", "PIL", "scipy", "lightning", "gradio")
OWN_PARSER = {*TRAINING, "fit-language"}
"""Commands whose options Lightning reads."""


def imported(*arguments: str) -> set[str]:
    """Slow packages that `vqa` imports for `arguments`, in a fresh process."""
    code = "import sys\nfrom vqa.__main__ import main\nmain(sys.argv[1:])\nprint(*sys.modules)"
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split()) & set(SLOW)


def names() -> list[str]:
    found = [each.name or each.callback.__name__ for each in app.registered_commands]  # type: ignore[union-attr]
    return sorted(name.replace("_", "-") for name in found)


@pytest.mark.parametrize("arguments", [["--help"], ["aks"], ["ask"], ["ask", "a.png", "?", "--x"]])
def test_help_and_mistyped_commands_import_nothing_slow(arguments: list[str]) -> None:
    assert imported(*arguments) == set()


def test_the_help_of_each_command_imports_nothing_slow() -> None:
    code = "import sys\nfrom vqa.__main__ import main\n"
    code += "for name in sys.argv[1:]: assert main([name, '--help']) == 0, name\n"
    code += "print(*sys.modules)"
    asked = [name for name in names() if name not in OWN_PARSER]
    assert "ask" in asked and "calibrate" in asked
    command = [sys.executable, "-c", code, *asked]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert set(done.stdout.splitlines()[-1].split()) & set(SLOW) == set()
