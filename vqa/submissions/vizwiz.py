"""VizWiz-VQA: [{"image": "VizWiz_test_00000000.jpg", "answer": str}] (EvalAI).

The official files have no question ids: an image has one question, and its name is the id.
"""

import os

from vqa.datasets import Example
from vqa.submissions._rows import Rows


class Submission(Rows):
    """The results file of VizWiz-VQA, task 1."""

    id_key = "image"

    def identity(self, question: Example) -> str:
        """The file name of its image."""
        return os.path.basename(question.image)
