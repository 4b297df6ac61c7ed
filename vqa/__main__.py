"""`vqa COMMAND ...`: train, evaluate, ask. Only the commands that train import Lightning."""

import sys
from collections.abc import Sequence

import typer
from typer import Context

from vqa import (
    commands,
    compare_command,
    data_command,
    evaluate_command,
    models_command,
    plan_command,
    submission_command,
)
from vqa.cli import calibrate, convert, fit_language, fit_tagger, prune_vocabulary, transcribe

app = typer.Typer(
    help="Visual question answering on images of any size, with latent attention.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

# LightningCLI reads the options of these commands itself, --help among them.
HANDED_ON = {
    "allow_extra_args": True,
    "ignore_unknown_options": True,
    "help_option_names": [],
}
TRAINING = {
    "fit": "Train a model: vqa fit -c configs/easy_vqa.yaml",
    "validate": "Score a checkpoint on the validation split.",
    "test": "Score a checkpoint on the test split.",
    "predict": "Answer a split with a checkpoint.",
}


def train(context: Context) -> None:
    """fit, validate, test and predict, through LightningCLI."""
    from jsonargparse import set_parsing_settings
    from lightning.pytorch.cli import LightningCLI

    from vqa.datamodule import VQAData
    from vqa.module import VQAModule
    from vqa.results import ResultsWriter

    set_parsing_settings(docstring_parse_attribute_docstrings=True)  # help for Network's words
    # LightningCLI warns of arguments that come in any other way; DDP starts argv[0] again.
    sys.argv = [sys.argv[0], str(context.info_name), *context.args]
    LightningCLI(
        VQAModule,
        VQAData,
        seed_everything_default=0,
        save_config_kwargs={"overwrite": True},
        trainer_defaults={"callbacks": [ResultsWriter()]},
    )


for command in (
    plan_command.plan,
    models_command.models,
    commands.ask,
    evaluate_command.evaluate,
    compare_command.compare,
    submission_command.submit,
    submission_command.validate_submission,
    data_command.data,
    commands.generate,
    commands.export,
    calibrate.calibrate,
    convert.convert,
    prune_vocabulary.prune_vocabulary,
    transcribe.transcribe,
    fit_tagger.fit_tagger,
):
    app.command()(command)
for name, text in TRAINING.items():
    app.command(name, help=text, context_settings=HANDED_ON)(train)
app.command("fit-language", context_settings=HANDED_ON)(fit_language.fit_language)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; a mistake of the user's is one sentence and exit code 2."""
    try:
        app(None if arguments is None else list(arguments))
    except SystemExit as end:
        return int(end.code or 0)
    except (ValueError, FileNotFoundError) as error:
        print(f"vqa: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
