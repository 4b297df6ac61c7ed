"""InfographicVQA: [{"questionId": int, "answer": str}] (Robust Reading Competition, task 3)."""

from vqa.submissions._rows import Rows


class Submission(Rows):
    """The results file of InfographicVQA."""

    id_key = "questionId"
