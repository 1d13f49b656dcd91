"""Texts that a model was not trained on, as separate documents: each begins at a paragraph, with its own BOS."""

import hashlib
from functools import cache
from typing import NamedTuple

from lens.hooked import HookedTransformer
from lens.load.entries import ASSETS
from lens.tokens import TokenBatch, padded

FILE = ASSETS / "texts" / "alice.txt"
TITLE = "Lewis Carroll, “Alice's Adventures in Wonderland” (1865)"
PARAGRAPH, ENDING = "\n\n", "\n\n\n"  # between paragraphs, between documents
CHARACTERS = 12  # handed to the tokenizer for each token that is wanted; English has 2 to 5


class HeldOut(NamedTuple):
    """A shipped text, what it is, and the hash of its content."""

    text: str
    title: str
    digest: str


@cache
def held_out() -> HeldOut:
    """The default text for losses of any model. Whether a foreign model has read it in training is not known."""
    data = FILE.read_bytes()
    return HeldOut(data.decode(), TITLE, hashlib.sha256(data).hexdigest())


def passages(text: str, n: int, longest: int) -> list[str]:
    """Up to ``n`` passages of up to ``longest`` characters; each begins at a paragraph and ends with its document.

    They start at even distances, the first at the beginning, and do not overlap: a short text has fewer.
    """
    starts = [0]
    for place in range(1, n):
        paragraph = text.find(PARAGRAPH, place * len(text) // n)
        if paragraph > starts[-1]:
            starts.append(paragraph + len(PARAGRAPH))
    found = []
    for start, end in zip(starts, [*starts[1:], len(text)]):
        whole = text[start:end].strip("\n").split(ENDING)[0]
        found.append(whole[:longest])
    return [passage for passage in found if passage]


def documents(model: HookedTransformer, text: str, n: int, prepend_bos: bool) -> TokenBatch:
    """The first ``n_ctx`` tokens of up to ``n`` passages of ``text``, padded on the right. No two are ever joined.

    ValueError where there is nothing to read.
    """
    if n < 1 or not text.strip():
        raise ValueError(f"documents: {n} passages of a text of {len(text)} characters; wanted at least one of some.")
    start = [model.bos.id] if prepend_bos else []
    n_ctx, encode = model.cfg.n_ctx, model.needs_tokenizer().encode
    found = passages(text, n, CHARACTERS * n_ctx)
    return padded([(start + encode(one, add_special_tokens=False))[:n_ctx] for one in found], model.pad_id)
