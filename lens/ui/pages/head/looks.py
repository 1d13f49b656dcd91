"""Single looks of a head with their text: the query, and the key that it attends to most, marked where they stand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from lens.figures.strip import Scale, token_strip
from lens.figures.strip import legend as scale_legend
from lens.figures.theme import number
from lens.ui.labels import token_labels

if TYPE_CHECKING:
    from lens.analysis.corpus.head import Look
    from lens.analysis.instruments.sample import Sample
    from lens.hooked import HookedTransformer

BEFORE, AFTER, ROUND_KEY = 10, 3, 4  # tokens before and after the query, and round a key that is far from it
GAP = 2  # tokens at least: fewer that are left out stand there instead
SCALE = Scale("attention of the outlined query to the underlined key", mark="the key")


def looks_html(model: HookedTransformer, sample: Sample, looks: Sequence[Look], legend: bool = True) -> str:
    """One strip below another, the legend above the first."""
    strips = "".join(_strip(model, sample, look) for look in looks)
    return f"{scale_legend(SCALE)}{strips}" if legend else strips


def _strip(model: HookedTransformer, sample: Sample, look: Look) -> str:
    """The tokens round one query and its key; what is left out between them is said."""
    texts = sample.text_batch()
    row = texts.tokens[look.document][texts.mask[look.document]]
    labels, places = token_labels(model, row), _places(look, len(row))
    words = [labels[at] if at >= 0 else f"⋯ {-at} tokens ⋯" for at in places]
    values = np.array([look.value if at == look.key else np.nan for at in places])
    hover = [f"position {at}" if at >= 0 else "left out" for at in places]
    query, key = places.index(look.query), places.index(look.key)
    hover[key] += f" · attention {number(look.value)}"
    strip = token_strip(words, values, scale=SCALE._replace(legend=False), hover=hover, selected=[query], marked=[key])
    return f"<small>{place_words(look, sample.unit)}: <b>{number(look.value)}</b></small>{strip}"


def place_words(look: Look, unit: str) -> str:
    """Where a look stands."""
    back = look.query - look.key
    far = "to itself" if back == 0 else f"to position {look.key}, {back} back"
    return f"{unit.removesuffix('s')} {look.document + 1}, from position {look.query} {far}"


def _places(look: Look, length: int) -> list[int]:
    """Positions that are shown; −n stands for n that are not."""
    near = range(max(0, look.query - BEFORE), min(length, look.query + AFTER + 1))
    if look.key >= near.start:
        return list(near)
    far = range(max(0, look.key - ROUND_KEY), min(near.start, look.key + ROUND_KEY + 1))
    gap = near.start - far.stop
    return [*far, *([-gap] if gap >= GAP else range(far.stop, near.start)), *near]
