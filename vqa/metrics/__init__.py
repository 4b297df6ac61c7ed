"""Scores of predicted answers: pure functions of strings, and the reports of the official tools.

`(prediction, answers) -> float` in [0, 1] scores one question; `..._report(examples, predictions)`
sums a split up in percent. One file = what one data set's official tool does.
"""

from vqa.metrics.aokvqa import aokvqa_accuracy, aokvqa_report, multiple_choice_accuracy
from vqa.metrics.chartqa import chartqa_report, relaxed_accuracy
from vqa.metrics.clevr import clevr_report
from vqa.metrics.docvqa import anls
from vqa.metrics.exact import exact_match, normalise
from vqa.metrics.gqa import gqa_accuracy, gqa_report
from vqa.metrics.textvqa import textvqa_accuracy
from vqa.metrics.vizwiz import answerability, vizwiz_accuracy, vizwiz_report
from vqa.metrics.vqa import vqa_accuracy, vqa_report

__all__ = [
    "anls",
    "answerability",
    "aokvqa_accuracy",
    "aokvqa_report",
    "chartqa_report",
    "clevr_report",
    "exact_match",
    "gqa_accuracy",
    "gqa_report",
    "multiple_choice_accuracy",
    "normalise",
    "relaxed_accuracy",
    "textvqa_accuracy",
    "vizwiz_accuracy",
    "vizwiz_report",
    "vqa_accuracy",
    "vqa_report",
]
