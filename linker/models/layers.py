"""What two or more networks share: cosines, spans, maxima and sentence transformers.

The axis letters are those of ``linker.batch``; Q and N stand for any number of vectors.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from featurestore.errors import ConfigError
from linker.models.half_pairs import dots_of_halves
from linker.models.pairs import is_shared, pair_dots, spread

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int

#: Smallest product of two norms in a cosine (the reference definition: 1e-8), so that a zero
#: vector is similar to nothing instead of NaN.
COSINE_EPS = 1e-8

#: Rows that are converted together (chosen here: 256 to 512 of 2048 numbers take least).
_CONVERTED = 512

#: Keeps 0/0 from being NaN in a gradient that is 0 there.
_TINY = torch.finfo(torch.float32).tiny


def autocast_dtype(device: torch.device) -> torch.dtype | None:
    """What autocast shortens the factors of products to here; None where it is off."""
    if torch.is_autocast_enabled(device.type):
        return torch.get_autocast_dtype(device.type)
    return None


def shortened(x: Tensor) -> Tensor:
    """Stored vectors as autocast gives them to products: once, instead of once a product.

    Where it is off, they are at least float32.
    """
    dtype = autocast_dtype(x.device)
    if dtype is None:
        return at_least_float32(x)
    if (x.dtype, dtype) != (torch.float16, torch.bfloat16) or not x.is_cpu:
        return x.to(dtype)
    # a processor has instructions from float16 to float32 and from there to bfloat16: a quarter of the
    # time of torch's conversion, which uses neither
    short = torch.empty_like(x, dtype=dtype)
    for first in range(0, len(x), _CONVERTED):
        short[first : first + _CONVERTED] = x[first : first + _CONVERTED].float()
    return short


def at_least_float32(x: Tensor) -> Tensor:
    """``x``, in float32 where it is shorter: for sums and norms that autocast must not shorten."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def cosine(queries: Float[Tensor, "B Q V"], keys: Float[Tensor, "B N V"]) -> Float[Tensor, "B Q N"]:
    """a·b / max(‖a‖·‖b‖, 1e-8) of every query with every key of the same mention.

    In float32 also under autocast: candidates differ in the third digit of a cosine, which is
    where bfloat16 ends.
    """
    with torch.autocast(queries.device.type, enabled=False):
        cosines: Tensor = _Cosine.apply(at_least_float32(queries), at_least_float32(keys))
        return cosines


class _Cosine(torch.autograd.Function):
    """The cosines, with a gradient that passes over the keys twice.

    With s = q·k / n, n = max(‖q‖·‖k‖, 1e-8): ∂s/∂k = q/n − s·k/‖k‖², and the second term is 0 where
    the bound counts. Put together by autograd, of products and norms, it is five passes.
    """

    @staticmethod
    def forward(ctx: Any, queries: Tensor, keys: Tensor) -> Tensor:
        query_norms, key_norms = _norms(queries), _norms(keys)
        norms = query_norms[:, :, None] * key_norms[:, None, :]
        cosines = (queries @ keys.transpose(1, 2)) / norms.clamp_min(COSINE_EPS)
        ctx.save_for_backward(queries, keys, query_norms, key_norms, cosines)
        return cosines

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:
        queries, keys, query_norms, key_norms, cosines = ctx.saved_tensors
        norms = query_norms[:, :, None] * key_norms[:, None, :]
        products = gradient / norms.clamp_min(COSINE_EPS)
        lengths = torch.where(norms >= COSINE_EPS, gradient * cosines, 0.0)
        query_gradient = key_gradient = None
        if ctx.needs_input_grad[0]:
            own = lengths.sum(dim=2) / query_norms.square().clamp_min(_TINY)
            query_gradient = queries * -own.unsqueeze(2)
            query_gradient.baddbmm_(products, keys)
        if ctx.needs_input_grad[1]:
            own = lengths.sum(dim=1) / key_norms.square().clamp_min(_TINY)
            key_gradient = keys * -own.unsqueeze(2)
            key_gradient.baddbmm_(products.transpose(1, 2), queries)
        return query_gradient, key_gradient


def cosine_of_pairs(
    queries: Float[Tensor, "B Q V"],
    keys: Float[Tensor, "U *P V"],
    candidates: Int[Tensor, "B C"],
) -> Float[Tensor, "B Q C *P"]:
    """The cosine of every query with the keys of its mention's candidates, as :func:`cosine`."""
    with torch.autocast(queries.device.type, enabled=False):
        queries = at_least_float32(queries)
        each = keys[0, ..., 0].numel()
        places = candidates[:1] if is_shared(candidates) else candidates  # of the keys, as one list
        if each > 1:
            places = places.unsqueeze(2) * each + torch.arange(each, device=keys.device)
        places = places.flatten(1).expand(len(candidates), -1)
        flat = keys.flatten(0, -2)
        found = dots_of_halves(queries, flat, places)
        if found is None:
            found = pair_dots(queries, flat, places), spread(_norms(flat), places)
        products, norms = found
        parts = (*candidates.shape[1:], *keys.shape[1:-1])
        return _over_norms(products, queries, norms.unsqueeze(1)).unflatten(2, parts)


def _norms(vectors: Tensor) -> Tensor:
    """In float32 where the numbers are shorter."""
    dtype = torch.promote_types(vectors.dtype, torch.float32)
    return torch.linalg.vector_norm(vectors, dim=-1, dtype=dtype)


def _over_norms(products: Tensor, queries: Tensor, key_norms: Tensor) -> Tensor:
    """Dot products (B, Q, N) as cosines, given the norms (B, 1, N) of the keys."""
    return products / (_norms(queries)[:, :, None] * key_norms).clamp_min(COSINE_EPS)


def cosine_of_all(
    queries: Float[Tensor, "B V"], keys: Float[Tensor, "U V"]
) -> Float[Tensor, "B U"]:
    """The cosine of every query with every key, as one matrix product."""
    return cosine(queries.unsqueeze(0), keys.unsqueeze(0)).squeeze(0)


def padding_mask(token_count: Int[Tensor, " B"], length: int) -> Bool[Tensor, "B T"]:
    """True where a position of ``length`` T is padding: what attention must not look at."""
    return torch.arange(length, device=token_count.device) >= token_count[:, None]


def span_mean(
    tokens: Float[Tensor, "B T D"],
    *,
    start: Int[Tensor, " B"],
    end: Int[Tensor, " B"],
    token_count: Int[Tensor, " B"],
) -> Float[Tensor, "B D"]:
    """Mean of the mention's tokens [start+1, end+1); [CLS] is position 0 and not counted.

    Tokens that truncation cut off do not take part. Where none is left the result is [CLS], as in
    the store's ``mentions/text_span``, and never NaN.
    """
    position = torch.arange(tokens.shape[1], device=tokens.device)
    last = torch.minimum(end + 1, token_count)
    inside = (position >= start[:, None] + 1) & (position < last[:, None])
    empty = ~inside.any(dim=1)
    inside[:, 0] |= empty
    weights = inside.to(tokens.dtype) / inside.sum(dim=1, keepdim=True)
    return torch.bmm(weights.unsqueeze(1), tokens).squeeze(1)


def token_max(
    tokens: Float[Tensor, "B T D"], padding: Bool[Tensor, "B T"] | None = None
) -> Float[Tensor, "B D"]:
    """Maximum of each channel over the positions, those of ``padding`` left out."""
    if padding is not None:
        tokens = tokens.masked_fill(padding.unsqueeze(2), -torch.inf)
    return tokens.amax(dim=1)


def sentence_transformer(
    *, width: int, layers: int, heads: int, feedforward: int, dropout: float
) -> nn.TransformerEncoder:
    """A post-norm transformer with GELU over the (B, T, width) tokens of sentences.

    Raises:
        ConfigError: ``heads`` does not divide ``width``.
    """
    check_heads(heads, {"text": width}, option="model.transformer_heads")
    layer = nn.TransformerEncoderLayer(
        d_model=width,
        nhead=heads,
        dim_feedforward=feedforward,
        dropout=dropout,
        activation="gelu",
        batch_first=True,
    )
    # Nested tensors are a prototype of torch that warns, and they are used in inference only.
    return nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)


def check_heads(heads: int, widths: Mapping[str, int], *, option: str) -> None:
    """Refuse attention heads that do not divide each width they share.

    Args:
        widths: by what is so wide: "text", "image".
        option: that sets ``heads``.

    Raises:
        ConfigError: names the option, and the most heads below ``heads`` that would do.
    """
    for of, width in widths.items():
        if width % heads:
            fitting = (n for n in range(heads, 0, -1) if not any(w % n for w in widths.values()))
            raise ConfigError(
                f"{heads} heads do not divide the {of} width {width}",
                where=option,
                hint=f"choose a divisor: --set {option}={next(fitting)}",
            )
