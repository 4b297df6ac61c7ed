"""Where an answer was read: drawn on the page that was asked about, and told in a line."""

import logging
from typing import Any

import gradio as gr

from app.preview import opened
from app.upload import told
from vqa import evidence_picture
from vqa.evidence import NOWHERE, Evidence
from vqa.opening import Reading

_log = logging.getLogger(__name__)


def line(evidence: Evidence) -> str:
    """The strongest part of it in pixels, and how much the image said at all."""
    if evidence.box is None:
        return NOWHERE
    left, top, right, bottom = evidence.box
    share = round(100 * evidence.share)
    return (
        f"strongest at pixels {left:,} to {right:,} across and {top:,} to {bottom:,} down · "
        f"{share} % from the image, {100 - share} % from the words"
    )


def drawing(path: str, reading: Reading, evidence: Evidence) -> tuple[Any, str]:
    """A PIL image, None where there is nothing to show, and in a sentence why it failed, if so.

    Nothing is raised: whatever happens here, the answer stays.
    """
    if evidence.box is None:
        return None, ""
    try:
        with told(path), opened(path, reading) as picture:
            return evidence_picture.draw(picture, evidence), ""
    except gr.Error as error:
        return None, f"not drawn: {error.message}"
    except Exception:
        _log.exception("the evidence could not be drawn")
        return None, "not drawn: an error of this program, which its log tells"
