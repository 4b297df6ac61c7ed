"""Pretrained language models with latent attention.

Importing this package registers the converted models with transformers, so that
`AutoModelForCausalLM.from_pretrained` loads them.
"""

from encoders.language.convert import convert, latte_layers

__all__ = ["convert", "latte_layers"]
