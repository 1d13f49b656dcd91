"""The vocabulary of a model: how a text is cut into tokens, and which tokens contain a text."""

from collections.abc import Sequence
from typing import NamedTuple

from lens.hooked import HookedTransformer


class Cut(NamedTuple):
    """A text as the model's own tokenizer cuts it, without BOS. Entry t of ``pieces`` is the string of ``ids[t]``."""

    text: str
    ids: list[int]
    pieces: list[str]


def cut(model: HookedTransformer, text: str) -> Cut:
    """The tokens of ``text``; none for an empty text."""
    ids = model.needs_tokenizer().encode(text, add_special_tokens=False)
    return Cut(text, ids, model.to_str_tokens(ids) if ids else [])


def spellings(model: HookedTransformer, text: str) -> list[Cut]:
    """``text`` as written, then with its leading space added or taken away: in the middle of a sentence words have one.

    A text that is nothing but a space has one spelling only.
    """
    other = text.removeprefix(" ") if text.startswith(" ") else f" {text}"
    return [cut(model, spelling) for spelling in (text, other) if spelling]


def vocabulary(model: HookedTransformer) -> list[str]:
    """The string of every id, in order. Bytes that are no character alone show as U+FFFD."""
    tokenizer = model.needs_tokenizer().backend_tokenizer
    return tokenizer.decode_batch([[i] for i in range(tokenizer.get_vocab_size())], skip_special_tokens=False)


def containing(strings: Sequence[str], text: str, same_case: bool = True) -> list[int]:
    """Ids of the tokens that contain ``text``, those that are nothing else first, then the shorter ones, then by id."""
    if not same_case:
        text = text.lower()
    found = [i for i, token in enumerate(strings) if text in (token if same_case else token.lower())]
    return sorted(found, key=lambda i: (len(strings[i]), i))
