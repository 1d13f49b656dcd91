"""Tokens as figures and tables write them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lens.tokens import visible

if TYPE_CHECKING:
    from lens.hooked import HookedTransformer

LONGEST = 8  # characters of a label in a small matrix


def token_labels(model: "HookedTransformer", tokens: Sequence[int]) -> list[str]:
    """What tokens look like, parts of characters as their bytes; their ids for a model without a tokenizer."""
    ids = [int(token) for token in tokens]
    return list(map(visible, model.to_str_tokens(ids))) if model.tokenizer is not None else list(map(str, ids))


def short_labels(labels: Sequence[str]) -> list[str]:
    """The same cut to ``LONGEST`` characters, for a small matrix."""
    return [label if len(label) <= LONGEST else f"{label[:LONGEST]}…" for label in labels]
