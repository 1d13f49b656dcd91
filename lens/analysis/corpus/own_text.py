"""Somebody's own text as documents that a model reads."""

import re
from typing import NamedTuple

from lens.analysis.counts import counted
from lens.analysis.held_out import CHARACTERS
from lens.analysis.instruments.sample import Sample
from lens.analysis.least import MIN_SAMPLES
from lens.hooked import HookedTransformer
from lens.tokens import padded
from lens.untrusted import whole_characters

BETWEEN = re.compile(r"\f|^[ \t]*-{3,}[ \t]*$", re.MULTILINE)  # documents
UNIT = "pieces"
FEWEST = 4  # tokens of a piece: what is left over at the end of a document may be less, and says nothing
RULE = (
    "A line of three dashes, or a form feed, begins a new document; each is cut into pieces that the model reads "
    "apart. "
    f"Pieces of one document are not independent: intervals and verdicts take {MIN_SAMPLES} documents."
)


class Cut(NamedTuple):
    """How documents are cut into pieces."""

    start: list[int]  # BOS, or nothing, before each piece
    length: int  # tokens of a piece, BOS counted


def own_text(
    model: HookedTransformer, text: str, n: int = 32, length: int = 128, prepend_bos: bool | None = None
) -> Sample:
    """``n`` pieces of ``length`` tokens, BOS counted: the first of each document, then the second of each, ….

    ``prepend_bos`` None: the model's own policy. Tokens that the tokenizer knows and the model has no row for are left
    out. ValueError for a text without a piece.
    """
    bos = model.bos.id is not None and (model.bos.prepend if prepend_bos is None else prepend_bos)
    cut = Cut([model.bos.id] if bos else [], min(length, model.cfg.n_ctx))
    documents = _documents(model, whole_characters(text), n, cut)
    turns = sorted((place, number) for number, pieces in enumerate(documents) for place in range(len(pieces)))[:n]
    order = sorted((number, place) for place, number in turns)
    if not order:
        raise ValueError(
            f"own_text: your text is too short: no piece of {FEWEST} tokens in {counted(len(text), 'character')}; give "
            "a longer text."
        )
    texts = padded([documents[number][place] for number, place in order], model.pad_id)
    numbers = tuple(number for number, _ in order)
    source = f"{counted(len(order), 'piece')} of your text, {int(texts.mask.sum())} tokens, {_independent(numbers)}"
    return Sample("text", source, texts=texts, unit=UNIT, documents=numbers)


def _documents(model: HookedTransformer, text: str, n: int, cut: Cut) -> list[list[list[int]]]:
    """The pieces of each of the first ``n`` documents that have one, as many of each as may be needed."""
    written = [document.strip() for document in BETWEEN.split(text) if document.strip()]
    share = -(-n // max(1, len(written)))  # of each, where all are long
    found: list[tuple[str, list[list[int]]]] = []
    for document in written:
        pieces = _pieces(model, document, share, cut)
        if pieces:
            found.append((document, pieces))
        if len(found) == n:
            break
    if sum(len(pieces) for _, pieces in found) >= n:
        return [pieces for _, pieces in found]
    return [_pieces(model, document, n, cut) if len(pieces) == share else pieces for document, pieces in found]


def _pieces(model: HookedTransformer, document: str, most: int, cut: Cut) -> list[list[int]]:
    ids = model.needs_tokenizer().encode(document[: most * cut.length * CHARACTERS], add_special_tokens=False)
    ids, step = [one for one in ids if one < model.cfg.d_vocab], cut.length - len(cut.start)
    pieces = [cut.start + ids[at : at + step] for at in range(0, len(ids), step)]
    return [piece for piece in pieces if len(piece) >= FEWEST][:most]


def _independent(numbers: tuple[int, ...]) -> str:
    """How many documents there are, and what that means for intervals."""
    n = len(set(numbers))
    documents = counted(n, "document")
    if n >= MIN_SAMPLES:
        return f"{documents}; the mean of a document's pieces counts once"
    return f"{documents}; pieces of one document are not independent, so no interval and no verdict"
