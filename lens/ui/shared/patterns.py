"""What the heads of a page of patterns read, one head's attention on it, and the cells that a score averages there."""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from lens.analysis.attention import head_patterns
from lens.analysis.instruments.layout import repeats_layout, text_layout
from lens.analysis.instruments.registry import instrument, pattern_names
from lens.analysis.names import Head
from lens.ui.calls import analyse
from lens.ui.labels import token_labels
from lens.ui.models import Prompt, read_prompt
from lens.ui.shared import repeats
from lens.ui.store import to_torch

if TYPE_CHECKING:
    from lens.hooked import HookedTransformer
    from lens.ui.shared.repeats import Sample
    from lens.ui.view import ViewState

KEEP_BYTES = 32_000_000  # of the patterns of all heads on one sequence


class Stripe(NamedTuple):
    """The cells of a pattern that a score averages, and what the key of each is to its query."""

    cells: list[tuple[int, int]]  # (query, key)
    meaning: str


class Reading(NamedTuple):
    """The tokens that heads read, and on a repeat what makes them and which of its cells a score averages."""

    prompt: Prompt
    stripe: Stripe | None = None  # None: the prompt was read, on which no cells are known before
    about: str = ""  # in a sentence, of a repeat
    code: str = ""  # the Python that makes ``tokens``, of a repeat


def read(view: "ViewState", model: "HookedTransformer", longest: int | None = None) -> Reading:
    """The prompt of the view, cut to ``longest``, or, where it says so, the first of its repeated random sequences."""
    if view["reads"] == "prompt":
        return Reading(read_prompt(view, model, longest))
    chosen = repeats.settings(view, model)
    repeated = repeats.tokens(model, chosen)
    tokens = to_torch(repeated.tokens[:1])
    view.fit_query(tokens.shape[1])
    score = view["score"] if view["score"] in pattern_names() else "induction"
    about = f"{chosen.n} random tokens, twice: the first of the sequences of Head scores, seed {chosen.seed}."
    python = f"from lens.analysis.random_tokens import repeated_tokens\n\ntokens = {repeats.code(chosen)}.tokens[:1]\n"
    prompt = Prompt("", tokens, token_labels(model, tokens[0]))
    return Reading(prompt, stripe(score, chosen.n, repeated.bos), about, python)


def attention(model: "HookedTransformer", tokens: np.ndarray, head: Head) -> np.ndarray:
    """Attention of one head on one sequence, [query, key].

    Of a short sequence all heads are computed together: then every further click costs nothing.
    """
    cfg = model.cfg
    every = [Head(*place) for place in np.ndindex(cfg.n_layers, cfg.n_heads)]
    heads = every if 4 * len(every) * len(tokens) ** 2 <= KEEP_BYTES else [Head(*head)]
    return analyse(head_patterns, model, to_torch(tokens)[None], heads).pattern[0, heads.index(head)]


def stripe(name: str, n: int, bos: int) -> Stripe:
    """What the score ``name`` averages on [BOS] r₁…r_n r₁…r_n; no cells for an entropy."""
    score = instrument(name)
    return Stripe(score.reads(repeats_layout(n, bos)), score.cells)


def marked(name: str, tokens: np.ndarray, sample: "Sample | None") -> Stripe:
    """What the score ``name`` averages on ``tokens``: a sequence of ``sample``, or a text where that is None."""
    if sample is not None:
        return stripe(name, sample.settings.n, sample.repeated.bos)
    row = to_torch(tokens)[None]
    layout = text_layout(row, torch.ones_like(row, dtype=torch.bool))
    return Stripe(instrument(name).reads(layout), "what the score averages")
