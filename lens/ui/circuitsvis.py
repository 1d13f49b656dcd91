"""CircuitsVis views inside a Streamlit page: no CDN, no request outside this server, no markup run from a token.

The CircuitsVis wheel holds one JavaScript bundle. It is copied next to the app once (``ensure_bundle``) and loaded
once per browser tab; each view then sends only its numbers.
"""

import json
import re
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from streamlit.runtime.scriptrunner import get_script_run_ctx

from lens.figures.theme import CATEGORICAL
from lens.ui.circuitsvis_bundle import KNOWN, write_bundle
from lens.ui.components import component

MARKUP = '<div class="lens-circuits" role="group"></div>'
WORD_JOINER = "\u2060"
DECIMALS = 4
POSITIVE, NEGATIVE = "#0c84fa", "#dc7d0c"
_RENDER_CALL = re.compile(r'render\(\s*"[\w-]+",\s*(\w+),\s*')


class View(NamedTuple):
    """A CircuitsVis element by name with its properties, safe to send to the page."""

    element: str
    props: dict[str, Any]


def attention_patterns(
    tokens: Sequence[str],
    attention: np.ndarray,
    names: Sequence[str] = (),
    *,
    key: str,
    colours: Sequence[str] = CATEGORICAL,
    height: int | None = None,
) -> None:
    """All heads of ``attention[head, query, key]`` on one text: hover a head or a token to focus, click to lock.

    ``colours``: the hue of each head (``theme.head_colours``).
    """
    _check(tokens, attention, names)
    from circuitsvis.attention import attention_patterns as build

    element, props = extract(build(tokens=list(tokens), attention=rounded(attention)).cdn_src)
    if names:
        # The element takes labels that its Python function does not offer.
        props["headLabels"] = [safe(name) for name in names]
    props["hues"] = hues(colours, len(attention))
    _mount(View(element, props), key, height, f"Attention patterns of {len(attention)} heads over {len(tokens)} tokens")


def attention_heads(
    tokens: Sequence[str],
    attention: np.ndarray,
    names: Sequence[str],
    *,
    key: str,
    colours: Sequence[str] = CATEGORICAL,
    first: int = 0,
    max_value: float | None = None,
    height: int | None = None,
) -> None:
    """A map per head of ``attention[head, query, key]`` (or any signed number per query and key), one of them enlarged.

    ``first``: which one, before another is hovered. ``colours``: the hue of each (``theme.head_colours``).
    ``max_value`` is the number of the full colour, and minus it that of the negative colour; None: the largest one.
    """
    _check(tokens, attention, names)
    from circuitsvis.attention import attention_heads as build

    top = max_value or float(np.abs(np.asarray(attention)).max()) or 1.0
    rendered = build(
        attention=rounded(attention),
        tokens=list(tokens),
        attention_head_names=list(names),
        max_value=top,
        min_value=-top,
        negative_color=NEGATIVE,
        positive_color=POSITIVE,
    )
    label = f"Attention maps of {', '.join(names)} over {len(tokens)} tokens"
    element, props = extract(rendered.cdn_src)
    props |= {"hues": hues(colours, len(names)), "first": first}
    _mount(View(element, props), key, height, label)


def colored_tokens(tokens: Sequence[str], values: np.ndarray, *, key: str, top: float, label: str) -> None:
    """A text whose tokens are coloured by ``values``: full colour at ``top``, the negative one at minus it."""
    if len(tokens) != len(values):
        raise ValueError(f"{len(values)} values for {len(tokens)} tokens; give one per token.")
    from circuitsvis.tokens import colored_tokens as build

    colours = {"negative_color": NEGATIVE, "positive_color": POSITIVE}
    rendered = build(list(tokens), rounded(values), min_value=-top, max_value=top, **colours)
    _mount(extract(rendered.cdn_src), key, None, label)


def text_neuron_activations(
    tokens: Sequence[str], activations: np.ndarray, layers: Sequence[str], neurons: Sequence[str], *, key: str
) -> None:
    """A text beside a chooser of layer and neuron: ``activations[token, layer, neuron]``."""
    if np.shape(activations) != (len(tokens), len(layers), len(neurons)):
        raise ValueError(
            f"Activations of shape {np.shape(activations)}; wanted [token, layer, neuron] = "
            f"{[len(tokens), len(layers), len(neurons)]}."
        )
    from circuitsvis.activations import text_neuron_activations as build

    rendered = build(
        list(tokens), rounded(activations), first_dimension_labels=list(layers), second_dimension_labels=list(neurons)
    )
    label = f"Activations of {len(neurons)} neurons over {len(tokens)} tokens"
    _mount(extract(rendered.cdn_src), key, None, label)


def topk_tokens(
    tokens: Sequence[Sequence[str]], activations: Sequence[np.ndarray], names: tuple[str, str], *, key: str, most: int
) -> None:
    """For each of several texts the tokens with the largest and smallest ``activations[text][layer, token, neuron]``.

    ``names``: of the one layer and the kind of the last axis. At most ``most`` tokens of each text.
    """
    for words, values in zip(tokens, activations, strict=True):
        if np.shape(values)[1] != len(words):
            raise ValueError(
                f"Activations of shape {np.shape(values)} for {len(words)} tokens; wanted [layer, token, n]."
            )
    from circuitsvis.topk_tokens import topk_tokens as build

    rendered = build(
        [list(words) for words in tokens],
        [rounded(values) for values in activations],
        max_k=most,
        third_dimension_name=names[1],
        first_dimension_labels=[names[0]],
    )
    _mount(extract(rendered.cdn_src), key, None, f"Top and bottom tokens of {len(tokens)} texts")


def extract(source: str) -> View:
    """Element and properties of the ``render("id", Element, {json})`` call in CircuitsVis's HTML, strings made safe.

    The HTML itself is never used: its JSON is not escaped for HTML, and it loads its code from a CDN.
    """
    call = _RENDER_CALL.search(source)
    if call is None:
        raise ValueError(
            f'No render("id", Element, {{...}}) call in {source[:80]!r}; circuitsvis {version("circuitsvis")}'
            f" writes its HTML differently. Install circuitsvis=={KNOWN}."
        )
    props, _ = json.JSONDecoder().raw_decode(source, call.end())
    return View(call.group(1), safe(props))


def safe(value: Any) -> Any:
    """The same value with U+2060 (word joiner, invisible) after every ``&`` and ``<`` of every string inside.

    CircuitsVis sets tokens as inner HTML; after the joiner neither a tag nor an entity can begin.
    """
    if isinstance(value, str):
        return value.replace("&", "&" + WORD_JOINER).replace("<", "<" + WORD_JOINER)
    if isinstance(value, list):
        # Most lists are rows of numbers: leave those as they are.
        return value if all(type(item) is float for item in value) else [safe(item) for item in value]
    if isinstance(value, dict):
        return {safe(name): safe(item) for name, item in value.items()}
    return value


def hues(colours: Sequence[str], n: int) -> list[list[int]]:
    """Red, green and blue of ``n`` heads, which the maps have at an attention of 1."""
    own = [[int(colour[i : i + 2], 16) for i in (1, 3, 5)] for colour in colours]
    return [own[i % len(own)] for i in range(n)]


def rounded(attention: np.ndarray) -> np.ndarray:
    """Float64 at 4 decimals: JSON then writes 0.1234, a third of the bytes of a full float."""
    return np.round(np.asarray(attention, np.float64), DECIMALS)


def ensure_bundle(static: Path | None = None) -> str:
    """The file name of the CircuitsVis bundle in the app's ``static`` folder, where it is written unless it is there.

    ``static`` defaults to the folder beside the running script.
    """
    return write_bundle(static or _static_folder())


def _static_folder() -> Path:
    context = get_script_run_ctx(suppress_warning=True)
    if context is None:
        raise ValueError("No Streamlit app is running; give the folder: ensure_bundle(Path('static')).")
    return Path(context.main_script_path).parent / "static"


def _mount(view: View, key: str, height: int | None, label: str) -> None:
    data = {"element": view.element, "props": view.props, "bundle": ensure_bundle(), "label": label}
    component("circuitsvis", MARKUP)(key=key, data=data, height="content" if height is None else height)


def _check(tokens: Sequence[str], attention: np.ndarray, names: Sequence[str]) -> None:
    shape, size = np.shape(attention), len(tokens)
    if len(shape) != 3 or shape[1:] != (size, size):
        raise ValueError(
            f"Attention of shape {shape} for {size} tokens; wanted [head, query, key] = [n, {size}, {size}]."
        )
    if names and len(names) != shape[0]:
        raise ValueError(f"{len(names)} names for {shape[0]} heads; give one name per head.")
