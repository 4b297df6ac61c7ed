"""`vqa calibrate`: below which probability a model says that it cannot tell."""

from pathlib import Path
from typing import Annotated

from typer import Argument, Option


def calibrate(
    folder: Annotated[Path, Argument(help="Model folder; its config.json is written.")],
    runs: Annotated[list[Path], Argument(help="Folders of vqa evaluate, of validation splits.")],
    min_accuracy: Annotated[
        float, Option(min=0, max=1, help="Answers right less often are no better than a guess.")
    ] = 0.5,
) -> None:
    """Fit the probability below which a model's answer is "I cannot tell"."""
    from vqa.evaluation.abstention import calibrate as fit

    found = fit(folder, runs, min_accuracy)
    print(
        f"abstain_below {found['abstain_below']:.3f}: answers {found['answered']:.1%} of "
        f"{found['questions']:,} questions, of which {found['score_of_answered']:.1%} right "
        f"(all: {found['score']:.1%}); AUROC {found['auroc']:.3f}, calibration error "
        f"{100 * found['ece']:.1f} points"
    )
