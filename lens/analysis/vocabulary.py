"""The vocabulary of a model: how a text is cut into tokens, and which tokens contain a text."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from lens.hooked import HookedTransformer
from lens.pieces import Pieces
from lens.tokens import visible


class Cut(NamedTuple):
    """A text as the model's own tokenizer cuts it inside a longer one. Entry t of ``pieces`` is that of ``ids[t]``."""

    text: str
    ids: list[int]
    pieces: list[str]


def cut(model: HookedTransformer, text: str) -> Cut:
    """The tokens of ``text``; none for an empty text."""
    ids = model.inner_ids(text)
    return Cut(text, ids, model.to_str_tokens(ids))


def spellings(model: HookedTransformer, text: str) -> list[Cut]:
    """``text`` as written, then with its leading space added or taken away: in the middle of a sentence words have one.

    A text that is nothing but a space has one spelling only.
    """
    other = text.removeprefix(" ") if text.startswith(" ") else f" {text}"
    return [cut(model, spelling) for spelling in (text, other) if spelling]


def vocabulary(model: HookedTransformer) -> list[str]:
    """The string of every id, in order, as :meth:`~lens.tokens.TextVerbs.to_str_tokens` gives them."""
    tokenizer = model.needs_tokenizer()
    return Pieces(tokenizer).strings(range(len(tokenizer)))


def containing(strings: Sequence[str], text: str, same_case: bool = True) -> list[int]:
    """Ids of the tokens that contain ``text``, those that are nothing else first, then the shorter ones, then by id."""
    if not same_case:
        text = text.lower()
    found = [i for i, token in enumerate(strings) if text in (token if same_case else token.lower())]
    return sorted(found, key=lambda i: (len(strings[i]), i))


def names_of(strings: Sequence[str], ids: Sequence[int]) -> list[str]:
    """Tokens for reading; "id 7" for an id that has no text: models may have more rows than their tokenizer."""
    return [visible(strings[i]) if i < len(strings) else f"id {i}" for i in ids]


def largest_first(values: Float[np.ndarray, " d_vocab"]) -> Int[np.ndarray, " d_vocab"]:
    """Ids by a number of theirs, the largest first, equal ones by id."""
    return np.argsort(-np.asarray(values), kind="stable")
