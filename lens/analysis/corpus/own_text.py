"""Somebody's own text as documents that a model reads."""

import re

from lens.analysis.held_out import CHARACTERS
from lens.analysis.instruments.sample import Sample
from lens.hooked import HookedTransformer
from lens.tokens import padded
from lens.untrusted import whole_characters

BETWEEN = re.compile(r"\f|^[ \t]*-{3,}[ \t]*$", re.MULTILINE)  # documents
UNIT = "pieces"
FEWEST = 4  # tokens of a piece: what is left over at the end of a document may be less, and says nothing
RULE = (
    "A line of three dashes, or a form feed, begins a new document; each is cut into pieces that the model reads apart."
)


def own_text(
    model: HookedTransformer, text: str, n: int = 32, length: int = 128, prepend_bos: bool | None = None
) -> Sample:
    """The first ``n`` pieces of ``length`` tokens, BOS counted. ``prepend_bos`` None: the model's own policy.

    Tokens that the tokenizer knows and the model has no row for are left out. ValueError for a text without a piece.
    """
    bos = model.bos.id is not None and (model.bos.prepend if prepend_bos is None else prepend_bos)
    start = [model.bos.id] if bos else []
    length = min(length, model.cfg.n_ctx)
    step, pieces = length - len(start), []
    for document in BETWEEN.split(whole_characters(text)):
        left = (n - len(pieces)) * length * CHARACTERS
        ids = [one for one in _encoded(model, document.strip()[:left]) if one < model.cfg.d_vocab]
        pieces += [start + ids[at : at + step] for at in range(0, len(ids), step)]
        pieces = [piece for piece in pieces if len(piece) >= FEWEST][:n]
        if len(pieces) == n:
            break
    if not pieces:
        raise ValueError(f"own_text: no piece of {FEWEST} tokens in {len(text):,} characters; give a longer text.")
    texts = padded(pieces, model.pad_id)
    return Sample("text", f"{len(pieces)} {UNIT} of your text, {int(texts.mask.sum())} tokens", texts=texts, unit=UNIT)


def _encoded(model: HookedTransformer, text: str) -> list[int]:
    return model.needs_tokenizer().encode(text, add_special_tokens=False) if text else []
