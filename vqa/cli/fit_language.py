"""`vqa fit-language`: train a language model from scratch on text files, through LightningCLI."""

import warnings

from typer import Context


def fit_language(context: Context) -> None:
    """Train a language model: vqa fit-language -c configs/language.yaml"""
    from jsonargparse import set_parsing_settings
    from lightning.pytorch.cli import LightningCLI

    from vqa.training.language import LanguageModule
    from vqa.training.text_data import TextData

    class FitCLI(LightningCLI):
        @staticmethod
        def subcommands() -> dict[str, set[str]]:
            return {"fit": LightningCLI.subcommands()["fit"]}  # each costs half a second

    set_parsing_settings(docstring_parse_attribute_docstrings=True)
    # argv must stay as it is, for DDP starts it again in every process.
    warnings.filterwarnings("ignore", "LightningCLI's args parameter")
    FitCLI(
        LanguageModule,
        TextData,
        args=["fit", *context.args],
        seed_everything_default=0,
        save_config_kwargs={"overwrite": True},
    )
