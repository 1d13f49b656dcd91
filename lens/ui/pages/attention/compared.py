"""Another model, checkpoint or text beside the first: how each head depends on the text, and one head's pattern."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from lens.analysis.content_dependence import CONTENT_DEPENDENCE
from lens.analysis.text_attention import text_attention
from lens.figures.matrix import ROW_DEFINITION
from lens.ui import parts
from lens.ui.calls import analyse
from lens.ui.ending import end_page
from lens.ui.estimate import forward_seconds
from lens.ui.pages.attention import numbers, words
from lens.ui.shared.compare import pairs
from lens.ui.shared.compare.section import compare
from lens.ui.shared.patterns import read

if TYPE_CHECKING:
    from streamlit.delta_generator import DeltaGenerator

    from lens.analysis.names import Head
    from lens.analysis.text_attention import TextAttention
    from lens.hooked import HookedTransformer
    from lens.ui.shared.compare.pairs import Pair
    from lens.ui.shared.compare.section import Sides
    from lens.ui.shared.patterns import Reading
    from lens.ui.view import ViewState


class Looks(NamedTuple):
    """How every head of a model looks at one text."""

    reading: Reading
    attention: TextAttention


def draw(view: ViewState, model: HookedTransformer, place: DeltaGenerator, looks: Looks, head: Head) -> None:
    """The section."""
    reads_prompt = view["reads"] == "prompt"
    pairs_of = partial(_pairs, head)
    compare(view, model, place, looks, looks_of, pairs_of, reads_prompt=reads_prompt, seconds=_seconds)


def looks_of(view: ViewState, model: HookedTransformer) -> Looks:
    """The page's numbers, of any side."""
    reading = read(view, model)
    if len(reading.prompt.labels) == 1:
        parts.not_computed(words.ONE_TOKEN)
        end_page()
    return Looks(reading, analyse(text_attention, model, reading.prompt.tokens, progress=True))


def _seconds(view: ViewState, model: HookedTransformer) -> float:
    return forward_seconds(model, read(view, model).prompt.tokens.shape[1], unembed=False)


def _pairs(head: Head, sides: Sides, first: Looks, second: Looks) -> list[Pair]:
    """Every head's dependence on the text; the pattern of ``head`` where it is a head of both."""
    both = (first, second)
    unit = "nats per query"
    code = (f"{of.reading.code}{DEPENDENCE}" for of in both)
    dependence = pairs.Quantity("content dependence", unit, CONTENT_DEPENDENCE, *code)
    result = [pairs.heads(dependence, *(of.attention.content_dependence for of in both))]
    if not sides.same_shape:
        return result
    patterns = [_causal(numbers.patterns(model, of.attention, [head])[0]) for model, of in zip(sides.models, both)]
    code = (f"{of.reading.code}{PATTERN.format(head)}" for of in both)
    attention = pairs.Quantity(f"attention of head {head}", "probability", ROW_DEFINITION, *code)
    axes = [_tokens(name, sides, both) for name in ("query", "key")]
    return [*result, pairs.table(attention, *patterns, *axes)]


DEPENDENCE = (
    "from lens.analysis.text_attention import text_attention\n\n"
    "values = text_attention(model, tokens).content_dependence"
)
PATTERN = (
    "import torch\n\nfrom lens.analysis.attention import head_patterns\nfrom lens.analysis.names import Head\n\n"
    "values = head_patterns(model, tokens, [{0!r}]).pattern[0, 0]\n"
    "values[tuple(torch.triu_indices(*values.shape, 1))] = torch.nan  # no query reads a later key"
)


def _tokens(name: str, sides: Sides, both: tuple[Looks, Looks]) -> pairs.Along:
    """Tokens by their text; those of random repeats by their places."""
    prompts = [of.reading.prompt for of in both]
    if not sides.reads_prompt and len(prompts[0].labels) == len(prompts[1].labels):
        return pairs.places(name, prompts[0].labels)
    return pairs.text(name, sides.models, prompts)


def _causal(pattern: np.ndarray) -> np.ndarray:
    """NaN where no query reads a later key."""
    return np.where(np.tri(len(pattern), dtype=bool), pattern, np.nan)
