"""What the Neurons page says: sentences, computed from its numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from lens.figures.theme import number
from lens.texts import HELD_OUT_NAME
from lens.ui.labels import token_labels
from lens.ui.shared.wording import signed

if TYPE_CHECKING:
    from lens.analysis.answer.neurons import Activity, Context, TokenWeights
    from lens.analysis.stats import Estimate
    from lens.hooked import HookedTransformer
    from lens.ui.pages.neurons.on_prompt import Pushed

PROMPT_MISREADING = (
    "One text shows where a neuron fired here, not what it is for: the same neuron may fire on quite other things "
    "elsewhere, which the samples below show better. And a large activation moves nothing that no later layer reads."
)
FORMULA = r"a_n(t) = \operatorname{act}\big(\operatorname{Norm}(x_t) \cdot w^{\text{in}}_n + b_n\big)"
FORMULA_GATED = (
    r"a_n(t) = \operatorname{act}\big(\operatorname{Norm}(x_t) \cdot w^{\text{gate}}_n\big)\,"
    r"\big(\operatorname{Norm}(x_t) \cdot w^{\text{in}}_n\big)"
)
WHERE = "x_t is the stream that the MLP reads at token t; biases are added where the model has them."
WEIGHTS_MISREADING = (
    "Weights as tokens say what a neuron could read and write directly. In all but the first layers the stream holds "
    "far more than the token's own embedding, and what is written may be read by later layers instead of the output."
)
WEIGHTS_FORMULA = (
    r"\text{writes}_v = w^{\text{out}}_n \cdot (\gamma_f \odot W_U[:, v]) - \text{mean}_v, \qquad "
    r"\text{reads}_v = W_E[v] \cdot (\gamma \odot w^{\text{in}}_n) - \text{mean}_v"
)
WEIGHTS_WHERE = "γ is the gain of the norm before the MLP, γ_f that of the final norm; LayerNorm's mean is taken out."
TEXT_MISREADING = (
    "The top contexts are the tail of a distribution: a neuron whose ten largest are all about ships may fire weakly "
    "on everything else, and that is most of what it does. Read the tenths too. And these are three novels: on code or "
    "another language it may mean something else."
)
TEXT_FORMULA = r"\text{active} = \operatorname{mean}_{\text{chapters}} \frac{\#\{t : a_n(t) > 0\}}{\#\{t\}}"
TEXT_WHERE = "t runs over the tokens of a chapter's beginning, the first left out."


def on_prompt(name: str, own: np.ndarray, labels: Sequence[str], values: np.ndarray) -> str:
    """Where it fires most on this text, how often, and its place among its layer."""
    at, low = int(np.argmax(own)), int(np.argmin(own))
    sizes = np.abs(values[min(1, len(values) - 1) :]).max(0)
    mine = float(np.abs(own[min(1, len(own) - 1) :]).max())
    rank = int((sizes > mine).sum()) + 1
    most = f"most active on {labels[at]} at position {at} of the prompt, {number(float(own[at]))}, and above zero at"
    if own[at] <= 0:
        most = f"lowest on {labels[low]} at position {low} of the prompt, {number(float(own[low]))}, and above zero at"
    return (
        f"Neuron {name} is {most} {int((own > 0).sum())} of {len(own)} tokens. By its largest size on this text, first "
        f"token left out, it is {rank:,} of {len(sizes):,} in its layer."
    )


def of_push(model: HookedTransformer, push: Pushed) -> str:
    """What it adds to the likeliest next token at the end, beside what it adds to any token and what others add."""
    (label,), cfg, at_random = token_labels(model, [push.token]), model.cfg, push.effect.at_random
    low, high = (signed(float(one)) for one in np.quantile(at_random, (0.025, 0.975)))
    return (
        f"At the last token it adds {signed(push.effect.part)} logits to {label}, the likeliest next one, directly; to "
        f"{len(at_random)} random tokens {signed(float(np.mean(at_random)))}, 95% of them between {low} and {high}. "
        f"The largest effect of all {cfg.n_layers * cfg.d_mlp:,} neurons on {label} is {signed(push.largest)}."
    )


def prompt_sample(n: int) -> str:
    """How many tokens."""
    return f"{n} tokens of one text: no interval."


def of_weights(model: HookedTransformer, name: str, found: Mapping[str, TokenWeights]) -> str:
    """Which tokens the weights name first."""

    def first(one: TokenWeights) -> str:
        return ", ".join(token_labels(model, one.high[:3]))

    text = f"Neuron {name}, when active, raises {first(found['writes'])} most and lowers "
    text += f"{', '.join(token_labels(model, found['writes'].low[:3]))}. Its input weights answer most to "
    text += first(found["reads"])
    if "gate reads" in found:
        text += f"; its gate to {first(found['gate reads'])}"
    return f"{text}."


def in_text(
    name: str, found: Activity, top: Sequence[Context], labels: Sequence[Sequence[str]], low: Sequence[Context] = ()
) -> str:
    """How often it fires, how far the top is from the rest, which tokens are on top, and those of ``low``, if any."""
    tokens = list(dict.fromkeys(labels[one.chapter][one.pos] for one in top))
    text = (
        f"Neuron {name} is above zero at {_share(found.active)} of the tokens of a chapter; its mean is "
        f"{_interval(found.mean)}. Its largest of {found.n:,} is {number(found.largest)}; nine of ten lie below "
        f"{number(float(found.edges[-2]))}. Its {len(top)} largest are at {len(tokens)} different "
        f"token{'s' if len(tokens) > 1 else ''}: {', '.join(tokens[:6])}{' …' if len(tokens) > 6 else ''}."
    )
    if not low or -low[0].value <= found.largest:
        return text
    least = list(dict.fromkeys(labels[one.chapter][one.pos] for one in low))[:6]
    return (
        f"{text} It is strongest below zero, {number(low[0].value)}: this MLP is gated, and what is negative writes as "
        f"much. Lowest at {', '.join(least)}."
    )


def text_sample(found: Activity, n_texts: int, length: int, seed: int) -> str:
    """What was read, and how the intervals and samples were made."""
    return (
        f"{found.n:,} tokens: the first {length} of {n_texts} chapters of {HELD_OUT_NAME}, first token left out; "
        f"samples of the tenths by seed {seed}. {found.active.note}"
    )


def _share(one: Estimate) -> str:
    bounds = "" if one.low is None else f" [{float(one.low):.1%}, {float(one.high):.1%}]"
    return f"{float(one.mean):.1%}{bounds}"


def _interval(one: Estimate) -> str:
    bounds = "" if one.low is None else f" [{number(float(one.low))}, {number(float(one.high))}]"
    return f"{number(float(one.mean))}{bounds}"
