"""Which tokens a gradient of the state comes from: attention weights times their derivatives.

Whoever reads a state reads its token s, through latent l, with a weight in proportion to
p(s|l) = exp(k[s, l] - z[l]). Weight times derivative, summed over all readers (gradient-weighted
attention: Chefer, Gur and Wolf, arXiv 2103.15679), is therefore v[s] . sum_l p(s|l) dL/du[l]:
linear in T, and of the readers only the gradient is needed that they leave in the state.
"""

from torch import Tensor

from encoders.latte.state import (
    State,
    accumulator,
    check,
    check_state,
    exact,
    key_logits,
    product_dtype,
)


def relevance(
    k: Tensor, v: Tensor, state: State, gradient: Tensor, mask: Tensor | None = None
) -> Tensor:
    """Of each token of a state, the sum over its readers of weight * dL/dweight, head by head.

    k logits [B, T, H, Lh]; v [B, T, H, Dh]; mask bool [B, T]; `state` has read these tokens, and
    perhaps others; `gradient` [B, H, Lh, Dh] is dL/du. Returns [B, T, H] in the state's dtype, 0
    at pads. Raises ValueError if the shapes disagree or the mask is not bool.
    """
    check(k, k, v, mask)
    check_state(state, k, v)
    wide = accumulator(k, v, state.u)
    narrow = product_dtype(v.dtype, wide)
    with exact(v):
        weights = (key_logits(k, wide, mask) - state.z.to(wide).unsqueeze(1)).exp()
        pull = weights.to(narrow).transpose(1, 2) @ gradient.to(narrow)  # dL/dv, [B, H, T, Dh]
        found = (pull.transpose(1, 2) * v).sum(3, dtype=wide)
    # In a row without real tokens z is as far down as the pads' logits, and weights are not 0.
    return found if mask is None else found.masked_fill(~mask[..., None], 0)
