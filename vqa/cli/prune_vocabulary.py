"""`vqa prune-vocabulary`: a model without the tokens that its texts do not need."""

from pathlib import Path
from typing import Annotated

from typer import Argument, Option


def prune_vocabulary(
    folder: Annotated[Path, Argument(help="A language model's folder, or a model's with one.")],
    out: Annotated[Path, Argument(help="New folder for the pruned model.")],
    text: Annotated[list[Path], Option(help="Text files whose tokens are kept; repeatable.")],
    common: Annotated[int, Option(min=0, help="First merges of the BPE to keep too.")] = 16000,
) -> None:
    """Keep of a vocabulary the commonest tokens and those of some texts."""
    from vqa.data.text import read_documents
    from vqa.vocabulary import prune_vocabulary as prune

    before, after = prune(folder, out, read_documents(text), common)
    print(f"wrote {out}: {after:,} of {before:,} tokens")
