"""``transformer_lens.head_detector``: how much of a head's attention follows a given pattern."""

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lens.compat.utils import is_lower_triangular

HEAD_NAMES = ["previous_token_head", "duplicate_token_head", "induction_head"]
MEASURES = ("mul", "abs")


@torch.no_grad()
def detect_head(
    model: Any,
    seq: str | list[str],
    detection_pattern: str | Float[Tensor, "query key"],
    heads: list[tuple[int, int]] | dict[int, list[int]] | None = None,
    cache: Mapping[Any, Tensor] | None = None,
    *,
    exclude_bos: bool = False,
    exclude_current_token: bool = False,
    error_measure: str = "mul",
) -> Float[Tensor, "layer head"]:
    """How well each head's pattern on ``seq`` matches ``detection_pattern``; −1 for heads that were not asked about.

    "mul": the share of the head's attention that falls where the pattern is 1. "abs": 1 minus the mean over queries of
    the absolute differences, from −1 to 1, rounded to three digits. The exclusions leave out attention to the first
    token, and of each token to itself. Several texts give the mean of their scores. ``cache`` holds patterns without a
    batch axis, and stays as it is.
    """
    if error_measure not in MEASURES:
        raise ValueError(f"detect_head: error_measure={error_measure!r}; it must be 'mul' or 'abs'.")
    options = {
        "exclude_bos": exclude_bos,
        "exclude_current_token": exclude_current_token,
        "error_measure": error_measure,
    }
    if not isinstance(seq, str) and isinstance(detection_pattern, str):
        scores = [detect_head(model, one, detection_pattern, heads, None, **options) for one in seq]
        return torch.stack(scores).mean(0)
    tokens = model.to_tokens(seq)
    wanted = _pattern(detection_pattern, tokens).to(model.device)
    if cache is None:
        _, cache = model.run_with_cache(
            tokens, names_filter=lambda name: name.endswith("pattern"), remove_batch_dim=True
        )
    scores = -torch.ones(model.cfg.n_layers, model.cfg.n_heads)
    for layer, head in _pairs(model, heads):
        attention = cache["pattern", layer][head]
        scores[layer, head] = compute_head_attention_similarity_score(attention, wanted, **options)
    return scores


def _pairs(model: Any, heads: Any) -> list[tuple[int, int]]:
    if heads is None:
        return [(layer, head) for layer in range(model.cfg.n_layers) for head in range(model.cfg.n_heads)]
    if isinstance(heads, Mapping):
        return [(layer, head) for layer, some in heads.items() for head in some]
    return list(heads)


def _pattern(given: str | Tensor, tokens: Int[Tensor, "1 pos"]) -> Float[Tensor, "query key"]:
    if isinstance(given, str):
        if given not in PATTERNS:
            raise ValueError(f"detect_head: {given!r} is not a known kind of head; use {', '.join(HEAD_NAMES)}.")
        return PATTERNS[given](tokens.cpu())
    n = tokens.shape[-1]
    if given.shape != (n, n) or not is_lower_triangular(given):
        raise ValueError(
            f"detect_head: the detection pattern must be lower triangular, {n} x {n}, for these {n} tokens; "
            f"got shape {list(given.shape)}."
        )
    return given


def get_previous_token_head_detection_pattern(tokens: Int[Tensor, "1 pos"]) -> Float[Tensor, "query key"]:
    """1 where the key stands right before the query."""
    return torch.ones(tokens.shape[-1] - 1).diag(-1)


def get_duplicate_token_head_detection_pattern(tokens: Int[Tensor, "1 pos"]) -> Float[Tensor, "query key"]:
    """1 where the key is an earlier occurrence of the query's token."""
    row = tokens.reshape(-1)
    return (row[:, None] == row).float().tril(-1)


def get_induction_head_detection_pattern(tokens: Int[Tensor, "1 pos"]) -> Float[Tensor, "query key"]:
    """1 where the key stands right after an earlier occurrence of the query's token."""
    duplicates = get_duplicate_token_head_detection_pattern(tokens).roll(1, dims=1)
    duplicates[:, 0] = 0
    return duplicates.tril()


PATTERNS = {
    "previous_token_head": get_previous_token_head_detection_pattern,
    "duplicate_token_head": get_duplicate_token_head_detection_pattern,
    "induction_head": get_induction_head_detection_pattern,
}


def get_supported_heads() -> None:
    """Print the known kinds of heads."""
    print(f"Supported heads: {HEAD_NAMES}")  # noqa: T201


def compute_head_attention_similarity_score(
    attention_pattern: Float[Tensor, "query key"],
    detection_pattern: Float[Tensor, "query key"],
    *,
    exclude_bos: bool,
    exclude_current_token: bool,
    error_measure: str,
) -> float:
    """One head's score; see :func:`detect_head`."""
    counted = torch.ones_like(attention_pattern)
    if exclude_bos:
        counted[:, 0] = 0
    if exclude_current_token:
        counted.fill_diagonal_(0)
    if error_measure == "mul":
        attention = attention_pattern * counted
        return (attention * detection_pattern).sum().item() / attention.sum().item()
    difference = (attention_pattern - detection_pattern).abs() * counted
    return 1 - round((difference.mean() * len(difference)).item(), 3)
