"""What the model writes after the prompt, beside what its changed twin writes: a part at a time, while one looks."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd
import streamlit as st
import torch

from lens.analysis.answer.generation import REPEATS, Change, Written, joined, repeated_share, write
from lens.arrays import as_tensor
from lens.figures.lines import Axis, Line, lines
from lens.figures.strip import Scale, token_strip
from lens.figures.theme import number as written_number
from lens.generate import Sampling
from lens.ui import parts
from lens.ui.calls import analyse, call_key, is_kept
from lens.ui.estimate import forward_seconds
from lens.ui.explanation import Explanation, explain
from lens.ui.export import Export, export
from lens.ui.labels import token_labels
from lens.ui.limits import limits
from lens.ui.pages.predictions import STOPS, words
from lens.ui.waiting import AGREED, CANCELLED, offer, remembered
from lens.ui.widgets import fold, number, select

if TYPE_CHECKING:
    from streamlit.delta_generator import DeltaGenerator

    from lens.figures.drawn import Drawn
    from lens.hooked import HookedTransformer
    from lens.ui.models import Prompt
    from lens.ui.pages.predictions.change import Changed
    from lens.ui.view import ViewState

AT_ONCE = 8  # tokens written between two drawings
PER_TOKEN = 2e-8  # seconds for each weight of a model that is read for one token: memory, not arithmetic
SHARES = (-0.03, 1.03)  # of the axis, so that markers at either end are whole
SCALE = Scale("probability of the token when it was written", ends=("0", "1"), mark="underlined: not the likeliest")
NEW_HELP = "How many tokens are written at most."
TEMPERATURE_HELP = "0 always takes the likeliest token; 1 draws as the model says; more is wilder."
TOPK_HELP = "Only the k likeliest tokens can be drawn; 0: all."
TOPP_HELP = "Only the smallest set of tokens that together has this probability can be drawn; 1: all."
STOP_HELP = "Where writing ends before that: at a token that ends a text of this model, or also at a line's end."
SEED_HELP = "Another seed draws other tokens; at temperature 0 it changes nothing."


class Settings(NamedTuple):
    """How much is written, and how."""

    n_new: int
    sampling: Sampling
    stop_ids: tuple[int, ...]


class Side(NamedTuple):
    """One of the two writers: its name and its change."""

    name: str
    change: Change | None


def choose_settings(view: ViewState, model: HookedTransformer, prompt: Prompt) -> Settings:
    """The choosers of the sampling."""
    room = model.cfg.n_ctx - prompt.tokens.shape[1]
    with st.container(horizontal=True, vertical_alignment="bottom"):
        n_new = int(number(view, "new", (1, max(1, min(limits().written_tokens, room))), "Tokens", NEW_HELP, width=110))
        temperature = number(view, "temperature", (0.0, 10.0), "Temperature", TEMPERATURE_HELP, width=130, step=0.1)
        top_k = int(number(view, "topk", (0, model.cfg.d_vocab), "Top k", TOPK_HELP, width=110))
        top_p = number(view, "topp", (0.01, 1.0), "Top p", TOPP_HELP, width=110, step=0.05)
        seed = int(number(view, "seed", (0, 2**31 - 1), "Seed", SEED_HELP, width=110))
        stop = select(view, "stop", tuple(STOPS), "Stop at", STOP_HELP, format_func=STOPS.get, width=150)
    line = model.inner_ids("\n") if stop == "line" else []
    ends = () if stop == "never" else (*model.stop_ids, *(line if len(line) == 1 else []))
    return Settings(n_new, Sampling(float(temperature), top_k or None, float(top_p), seed), ends)


def draw(
    view: ViewState, model: HookedTransformer, prompt: Prompt, settings: Settings, changed: Changed | None
) -> None:
    """Both texts as they are written; nothing is written before a click."""
    if prompt.tokens.shape[1] >= model.cfg.n_ctx:
        parts.not_computed(f"the prompt fills all {model.cfg.n_ctx} tokens that this model can read.")
        return
    sides = [Side("as it is", None)] + ([] if changed is None else [Side(changed.words, changed.change)])
    texts = _write(model, prompt, settings, sides)
    if texts is None:
        return
    shares = [repeated_share(prompt.tokens[0].tolist(), text.ids.tolist()) for text in texts]
    figure = _curve(sides, shares)
    rows = table_of(model, sides, texts)
    box = fold(view, "each", "Every token that was written")
    if box.open:
        with box:
            parts.table(rows, "Every written token with its probability and alternatives", height=380)
    explanation = Explanation(
        tuple(filter(None, (words.written(model, sides, texts), words.repeating(sides, shares)))),
        words.WRITING_MISREADING,
        measured=(("Sample", words.writing_sample(settings.sampling, texts)),),
        formula=words.WRITING_FORMULA,
        where=words.WRITING_WHERE,
    )
    explain(view, model, explanation)
    before = prompt.tokens[0].tolist()
    payload = {
        side.name: {"text": model.continuation(before, text.ids.tolist()), **text._asdict()}
        for side, text in zip(sides, texts)
    }
    payload["repeated"] = {side.name: share for side, share in zip(sides, shares)}
    export(view, Export("writing", figure, rows, payload, code(settings, changed)))


def _write(model: HookedTransformer, prompt: Prompt, settings: Settings, sides: list[Side]) -> list[Written] | None:
    """What each side writes, a part at a time, drawn while it grows; None where nothing is written yet."""
    key = call_key(write, (model, prompt.tokens, *settings, tuple(side.change for side in sides)), {})
    running = key in remembered(AGREED) and key not in remembered(CANCELLED)
    stop, place = st.empty(), st.empty()
    if running:
        stop.button("Stop", key=f"stop:{key}", help="What is written stays.", on_click=_stop, args=(key,))
    pieces: list[list[Written]] = [[] for _ in sides]
    waiting = False
    with st.container():
        for start in range(0, settings.n_new, AT_ONCE):
            for side, own in zip(sides, pieces):
                if _ended(own, start, settings):
                    continue
                args = (model, _text(prompt, own), min(AT_ONCE, settings.n_new - start), settings.sampling)
                args += (side.change, settings.stop_ids)
                if not running and not is_kept(write, *args):
                    waiting = True
                    break
                own.append(analyse(write, *args))
            if waiting:
                break
            _draw_texts(place, model, sides, pieces)
    stop.empty()
    if waiting:
        done = sum(piece.n for own in pieces for piece in own)
        seconds = _seconds(model, prompt, settings, len(sides))
        what = "Nothing is written yet." if not done else f"{done} tokens are written."
        offer(key, what, f"Write {settings.n_new} tokens, about {max(seconds, 1):,.0f} s")
    return [joined(own) for own in pieces] if all(pieces) else None


def _seconds(model: HookedTransformer, prompt: Prompt, settings: Settings, n_sides: int) -> float:
    n_weights = sum(weight.numel() for weight in model.parameters())
    n_parts, n = -(-settings.n_new // AT_ONCE), prompt.tokens.shape[1] + settings.n_new / 2
    return n_sides * (n_parts * forward_seconds(model, int(n), False) + settings.n_new * PER_TOKEN / 20 * n_weights)


def _stop(key: str) -> None:
    remembered(CANCELLED).add(key)
    remembered(AGREED).discard(key)


def _ended(own: list[Written], start: int, settings: Settings) -> bool:
    return sum(piece.n for piece in own) < start or bool(own and int(own[-1].ids[-1]) in settings.stop_ids)


def _text(prompt: Prompt, own: list[Written]) -> torch.Tensor:
    """The prompt and what was written so far."""
    new = [as_tensor(piece.ids)[None] for piece in own]
    return torch.cat([prompt.tokens, *new], 1)


def _draw_texts(
    place: DeltaGenerator, model: HookedTransformer, sides: list[Side], pieces: list[list[Written]]
) -> None:
    """The texts side by side, each token coloured by its probability."""
    with place.container():
        for column, side, own in zip(st.columns(len(sides), gap="large"), sides, pieces):
            with column:
                st.markdown(f"**The model, {side.name}**")
                if own:
                    st.html(strip_of(model, joined(own)))


def strip_of(model: HookedTransformer, text: Written) -> str:
    """What was written as a strip; a token says its probability and the alternatives when the mouse rests on it."""
    labels = token_labels(model, text.ids)
    return token_strip(
        labels,
        np.exp(text.logprob),
        scale=SCALE,
        hover=[
            f"probability {written_number(np.exp(logprob))} · rank {rank + 1:,} · instead: {others}"
            for logprob, rank, others in zip(text.logprob, text.rank, alternatives(model, text))
        ],
        marked=np.flatnonzero(text.rank > 0),
    )


def alternatives(model: HookedTransformer, text: Written) -> list[str]:
    """For each token the likeliest others, with their probabilities."""
    labels = np.array(token_labels(model, text.top.ravel()), object).reshape(text.top.shape)
    return [
        " · ".join(f"{labels[i, k]} {np.exp(text.top_logprob[i, k]):.2g}" for k in np.flatnonzero(text.top[i] != own))
        for i, own in enumerate(text.ids)
    ]


def _curve(sides: list[Side], shares: list[np.ndarray]) -> Drawn:
    curves = [
        Line(f"The model, {side.name}", share, x=np.arange(1, len(share) + 1, dtype=np.float32))
        for side, share in zip(sides, shares)
    ]
    title = "How much of the text repeats"
    figure = lines(
        curves, Axis("tokens written", "share of them that repeat", y_range=SHARES), title=title, definition=REPEATS
    )
    alt = "; ".join(f"{curve.name}: {curve.y[-1]:.0%} at the end" for curve in curves)
    parts.chart(figure, f"{title}. {alt}", key="predictions:repeats")
    return figure


def table_of(model: HookedTransformer, sides: list[Side], texts: list[Written]) -> pd.DataFrame:
    """One row per written token."""
    frames = [
        pd.DataFrame({
            "model": side.name,
            "place": np.arange(1, text.n + 1),
            "token": token_labels(model, text.ids),
            "id": text.ids,
            "probability": np.exp(text.logprob),
            "rank (from 1)": text.rank + 1,
            "entropy (nats)": text.entropy,
            "alternatives": alternatives(model, text),
        })
        for side, text in zip(sides, texts)
    ]  # fmt: skip
    return pd.concat(frames, ignore_index=True)


def code(settings: Settings, changed: Changed | None) -> str:
    """The Python that writes both texts again."""
    how = ", ".join(f"{name}={value!r}" for name, value in settings.sampling._asdict().items())
    text = (
        "from lens.analysis.answer.generation import Change, answer_direction, head_direction\n"
        "from lens.analysis.answer.generation import mean_z, steering, write\n"
        "from lens.analysis.names import Head\nfrom lens.generate import Sampling\n\n"
        f"sampling, stop_ids = Sampling({how}), {settings.stop_ids}\n"
        f"plain = write(model, tokens, {settings.n_new}, sampling, stop_ids=stop_ids)\n"
        "print(plain.ids.tolist())\n"
    )
    if changed is None:
        return text
    return text + (
        f"{changed.code}twin = write(model, tokens, {settings.n_new}, sampling, change, stop_ids)\n"
        "print(twin.ids.tolist())\n"
    )
