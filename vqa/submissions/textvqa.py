"""TextVQA: [{"question_id": int, "answer": str}] (the TextVQA challenge, EvalAI)."""

from vqa.submissions._rows import Rows


class Submission(Rows):
    """The prediction file of TextVQA."""
