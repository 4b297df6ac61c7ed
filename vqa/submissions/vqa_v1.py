"""VQA v1, both tasks: the results file of VQA v2.

With the data set's task=multiple_choice an answer must be one of the question's choices. The
official tools do not look; an answer that is none of them can only be a mistake.
"""

from vqa.submissions._rows import Rows


class Submission(Rows):
    """The results file of VQA v1."""

    whole = {"test-dev": "test", "test-dev2015": "test2015"}
