"""Latte VQA: questions about images of any size, answered in linear time by latent attention."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["Answer", "LatteVQA", "LatteVQAConfig", "Predictor", "pipeline"]

if TYPE_CHECKING:
    from vqa.config import LatteVQAConfig
    from vqa.model import LatteVQA
    from vqa.pipelines import pipeline
    from vqa.predictor import Answer, Predictor

_HOMES = {
    "Answer": "vqa.predictor",
    "LatteVQA": "vqa.model",
    "LatteVQAConfig": "vqa.config",
    "Predictor": "vqa.predictor",
    "pipeline": "vqa.pipelines",
}


def __getattr__(name: str) -> Any:
    """Public names on first use, so that `vqa --help` need not wait for torch and transformers."""
    if name not in _HOMES:
        raise AttributeError(f"module 'vqa' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
