"""Evaluation of a whole split: answers that survive a kill, scores with intervals, a report."""

from vqa.evaluation.run import evaluate
from vqa.evaluation.settings import Settings

__all__ = ["Settings", "evaluate"]
