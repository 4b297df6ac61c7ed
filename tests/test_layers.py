"""encoders/ knows tensors, vqa/ knows questions, app/ knows people; imports point that way only."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("encoders", "vqa", "app")
FILES = {
    path.relative_to(ROOT).as_posix(): path
    for package in PACKAGES
    for path in sorted((ROOT / package).rglob("*.py"))
}
TRAINING = {file for file in FILES if file.startswith("vqa/training/")}
TRAINING |= {"vqa/module.py", "vqa/datamodule.py", "vqa/results.py"}
COMMANDS = {file for file in FILES if file.startswith("vqa/cli/")} | {"vqa/__main__.py"}
"""Import training when they run."""


def imports(code: str) -> set[str]:
    """Full dotted names of all that `code` imports, within functions too."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide the direction"
            names |= {f"{node.module}.{alias.name}" for alias in node.names} | {str(node.module)}
    return names


IMPORTS = {file: imports(path.read_text(encoding="utf-8")) for file, path in FILES.items()}


def users(module: str) -> set[str]:
    """The files that import `module` or something in it."""
    return {
        file
        for file, names in IMPORTS.items()
        if any(name == module or name.startswith(module + ".") for name in names)
    }


def within(files: set[str], *packages: str) -> set[str]:
    return {file for file in files if file.startswith(packages)}


def test_imports_are_read_wherever_they_stand() -> None:
    code = "import a.b\ndef f():\n    from c import d\nif x:\n    import e as g"
    assert imports(code) == {"a.b", "c", "c.d", "e"}
    assert within(users("torch"), "encoders/") and within(users("encoders"), "vqa/")


@pytest.mark.parametrize("above", ("vqa", "app", "PIL", "huggingface_hub"))
def test_encoders_know_tensors_only(above: str) -> None:
    assert not within(users(above), "encoders/")


def test_questions_do_not_know_people() -> None:
    assert not within(users("app"), "vqa/")


def test_the_app_reaches_tensors_through_questions() -> None:
    assert not within(users("encoders"), "app/")


def test_timm_is_an_image_encoder_only() -> None:
    assert users("timm") and users("timm") == within(users("timm"), "encoders/vision/")


def test_transformers_is_a_language_model_only() -> None:
    tensors = within(users("transformers"), "encoders/")
    assert tensors and tensors == within(tensors, "encoders/language/")


def test_gradio_is_of_the_app_only() -> None:
    assert users("gradio") == within(users("gradio"), "app/")


def test_lightning_is_of_training_only() -> None:
    assert users("lightning") and users("lightning") <= TRAINING | COMMANDS


def test_nobody_else_imports_what_imports_lightning() -> None:
    """So that the demo, `vqa ask` and `vqa evaluate` start without it."""
    for file in TRAINING:
        module = file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        if module != "vqa.training":
            assert users(module) <= TRAINING | COMMANDS, file
    for file in COMMANDS:
        for node in ast.parse(FILES[file].read_text(encoding="utf-8")).body:
            if isinstance(node, ast.Import | ast.ImportFrom):
                for name in imports(ast.unparse(node)):
                    assert not name.startswith(("lightning", "vqa.training")), file


@pytest.mark.parametrize("file", [file for file in FILES if file.startswith("encoders/latte/")])
def test_operators_need_torch_only(file: str) -> None:
    allowed = {"torch", "encoders", *sys.stdlib_module_names}
    if "triton_" in file:  # kernels, imported where there is a GPU
        allowed.add("triton")
    assert {name.split(".")[0] for name in IMPORTS[file]} <= allowed


def test_stacks_load_without_the_heavy_libraries() -> None:
    heavy = {"transformers", "timm", "lightning", "gradio", "PIL", "torchvision"}
    code = "import sys, encoders.stack, encoders.latte; from encoders import mixers\n"
    code += "for name in mixers.available(): mixers.create(name, 8, 2)\n"
    code += f"print(sorted({heavy} & set(sys.modules)))"
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip() == "[]"
