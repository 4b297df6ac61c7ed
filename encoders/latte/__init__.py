"""Latte, latent attention in linear time: pure functions and a State, torch only.

Dolga, Cobzarenco, Maystre, Barber, "Latte: Latent Attention for Linear Time Transformers"
(arXiv 2402.17512). A token t reads a token s through a few latents l:

    p(s|t) = sum_l p(l|t) p(s|l)       p(l|t) = softmax of q over latents
                                       p(s|l) = softmax of k over time (all s, or s <= t)

Shapes everywhere: B batch, T tokens, H heads, Lh latents of a head, Dh channels of a head.
q and k are logits [B, T, H, Lh], v is [B, T, H, Dh], a mask is bool [B, T], True = real token.
`naive` holds the same operators as O(T^2) formulas; it judges the fast ones in the tests.
"""

from encoders.latte import naive
from encoders.latte.bidirectional import bidirectional
from encoders.latte.causal import causal
from encoders.latte.recurrent import step
from encoders.latte.relevance import relevance
from encoders.latte.state import State

__all__ = ["State", "bidirectional", "causal", "naive", "relevance", "step"]
