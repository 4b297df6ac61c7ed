"""`vqa COMMAND ...`: train, evaluate, ask. Only the commands that train import Lightning."""

import sys
from collections.abc import Callable, Sequence
from typing import Any

TRAINING = {
    "fit": "train a model",
    "validate": "score a checkpoint on the validation split",
    "test": "score a checkpoint on the test split",
    "predict": "answer a split with a checkpoint",
}
SERVING = {
    "ask": "answer a question about an image",
    "evaluate": "answer and score a split of a data set",
    "export": "write a model folder from a training checkpoint",
}


def usage() -> str:
    rows = [f"  {name:<10}{text}" for name, text in {**SERVING, **TRAINING}.items()]
    return "\n".join(
        ["usage: vqa COMMAND [options]      (vqa COMMAND --help lists them)", "", *rows]
    )


def train(arguments: Sequence[str]) -> None:
    """fit, validate, test and predict, through LightningCLI."""
    from lightning.pytorch.cli import LightningCLI

    from vqa.datamodule import VQAData
    from vqa.module import VQAModule
    from vqa.results import ResultsWriter

    sys.argv = ["vqa", *arguments]  # LightningCLI warns of arguments given in any other way
    LightningCLI(
        VQAModule,
        VQAData,
        seed_everything_default=0,
        save_config_kwargs={"overwrite": True},
        trainer_defaults={"callbacks": [ResultsWriter()]},
    )


def serve(arguments: Sequence[str]) -> None:
    """ask, evaluate and export: functions whose signatures are their options."""
    from jsonargparse import auto_cli

    from vqa import commands

    command: Callable[..., Any] = getattr(commands, arguments[0])
    auto_cli(command, args=list(arguments[1:]), prog=f"vqa {arguments[0]}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; a mistake of the user's is one sentence and exit code 2."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    if not arguments or arguments[0] in ("-h", "--help"):
        print(usage())
        return 0 if arguments else 2
    if arguments[0] == "--version":
        from vqa import __version__

        print(__version__)
        return 0
    if arguments[0] not in {**SERVING, **TRAINING}:
        print(f"vqa: there is no command {arguments[0]!r}\n{usage()}", file=sys.stderr)
        return 2
    try:
        (serve if arguments[0] in SERVING else train)(arguments)
    except (ValueError, FileNotFoundError) as error:
        print(f"vqa {arguments[0]}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
