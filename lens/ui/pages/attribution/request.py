"""The page's widgets, the number that they ask about, and its parts."""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import streamlit as st
import torch

from lens.analysis.answer.direct_attribution import (
    DRAWS,
    DirectAttribution,
    SourceSplit,
    Target,
    asked_at_random,
    direct_attribution,
    source_split,
    why_not_folded,
)
from lens.analysis.largest_head import largest_head
from lens.analysis.loss import next_token_stats
from lens.analysis.names import Head
from lens.analysis.stats import family_wise_threshold
from lens.arrays import as_tensor
from lens.ui import parts
from lens.ui.calls import analyse, call_key, is_kept
from lens.ui.ending import end_page
from lens.ui.estimate import forward_seconds
from lens.ui.labels import token_labels
from lens.ui.models import Prompt, read_prompt
from lens.ui.pages.attribution import KINDS, WEIGHTS
from lens.ui.shared import heads
from lens.ui.waiting import started
from lens.ui.widgets import bind, segmented, text_line

if TYPE_CHECKING:
    from lens.hooked import HookedTransformer
    from lens.ui.view import ViewState

LONGEST = 256  # tokens of a prompt that is read
TOP = 5  # likeliest tokens that are looked up
WAIT = 5.0  # estimated seconds above which it waits for a click
KIND_HELP = (
    "**Difference:** the logit of one token minus that of another: what both share falls out. **Logit:** of one token; "
    "folded, above the mean of all tokens. **Log-probability:** its linear part, and the entropy as a part of its own."
)
RIGHT_HELP = "The token that is asked about, with its space. Empty: the likeliest there, {}."
WRONG_HELP = "The token it is compared with, with its space. Empty: the likeliest other one, {}."
AT_HELP = "The token after which the model's prediction is read. A click on the strip chooses it too."
WEIGHTS_HELP = (
    "**Folded:** the bias of the final norm counts with that of the unembedding, and a logit is read above the mean of "
    "all. **Raw:** as the model holds them. The parts of heads and MLPs of a difference are the same."
)


class Request(NamedTuple):
    """One number of one prompt."""

    model: "HookedTransformer"
    prompt: Prompt
    kind: str
    at: int  # position whose prediction is read
    right: int
    wrong: int | None
    folded: bool

    @property
    def target(self) -> Target:
        """As the analyses take it."""
        wrong = None if self.wrong is None else torch.tensor([self.wrong])
        return Target(self.kind, torch.tensor([self.at]), torch.tensor([self.right]), wrong, self.folded)

    @property
    def unit(self) -> str:
        """Of the number."""
        return "nats" if self.kind == "log_prob" else "logits"

    @property
    def name(self) -> str:
        """The number in words."""
        right, *wrong = token_labels(self.model, [self.right, *([] if self.wrong is None else [self.wrong])])
        if self.kind == "logit_diff":
            return f"logit of {right} minus {wrong[0]}"
        above = " above the mean" if self.kind == "logit" and self.folded else ""
        return f"{'logit' if self.kind == 'logit' else 'log-probability'} of {right}{above}"


class Parts(NamedTuple):
    """The number taken apart, and what is compared with it; arrays as numpy."""

    of: DirectAttribution
    null: DirectAttribution  # the same prompt asked about random tokens
    thresholds: dict[str, float]  # what the largest part of any head, and of any MLP, reaches for a random token
    head: Head
    split: SourceSplit  # of that head


def choose(view: "ViewState", model: "HookedTransformer") -> Request:
    """The row of widgets; the page ends, with the reason, where there is nothing to ask."""
    if model.tokenizer is None:
        parts.empty_state("This model has no tokenizer, so it reads no prompt.")
    prompt = read_prompt(view, model, LONGEST)
    with st.container(horizontal=True, vertical_alignment="bottom", key="attribution-controls"):
        kind = segmented(view, "kind", tuple(KINDS), "Number", KIND_HELP, format_func=KINDS.get)
        at = _position(view, prompt.labels)
        likely = _likeliest(model, prompt, at)
        names = token_labels(model, likely)
        right = _token(view, "right", "Of", RIGHT_HELP.format(names[0]), model, likely[0], names[0])
        wrong = None
        if kind == "logit_diff":
            place = next(i for i, one in enumerate(likely) if one != right)
            wrong = _token(view, "wrong", "Minus", WRONG_HELP.format(names[place]), model, likely[place], names[place])
        folded = segmented(view, "weights", tuple(WEIGHTS), "Weights", WEIGHTS_HELP, format_func=WEIGHTS.get)
    request = Request(model, prompt, kind, at, right, wrong, folded == "folded")
    if why := why_not_folded(model, request.target):
        view.note(f"folded weights are not offered for this number because {why}: showing raw ones")
        request = request._replace(folded=False)
    if wrong == right:
        parts.empty_state("Both tokens are the same: their difference is 0. Choose another one.")
    return request


def _position(view: "ViewState", labels: list[str]) -> int:
    last = len(labels) - 1
    if view["at"] is not None and view["at"] > last:
        view.note(f"token {view['at']} does not exist in this prompt ({len(labels)} tokens): showing the last")
        view.set(at=None)
    value = last if view["at"] is None else view["at"]
    names = [f"{place}: {label}" for place, label in enumerate(labels)]
    seed = bind(view, "at", names[value], lambda key: view.set(at=int(st.session_state[key].split(":")[0])))
    st.selectbox("After", names, value, help=AT_HELP, width=150, **seed)
    return value


def _likeliest(model: "HookedTransformer", prompt: Prompt, at: int) -> list[int]:
    """The likeliest next tokens there."""
    stats = analyse(next_token_stats, model, prompt.tokens, None, min(TOP, model.cfg.d_vocab), progress=True)
    return stats.top[0, at].tolist()


def _token(
    view: "ViewState", name: str, label: str, help: str, model: "HookedTransformer", default: int, shown: str
) -> int:
    """A typed token; what is several tokens for this model counts as its first, with a note."""
    text = text_line(view, name, label, help, width=130, placeholder=shown)
    if not text:
        return default
    ids = model.all_ids(text, False)
    if len(ids) > 1:
        view.note(f"{name} {text!r} is {len(ids)} tokens for this model: only the first counts")
    return ids[0] if ids else default


def compute(view: "ViewState", request: Request) -> Parts | None:
    """The parts of the number, the null, and the sources of the chosen head; None while long work waits."""
    model, args, seed = request.model, (request.model, request.prompt.tokens, request.target), int(view["seed"])
    seconds = 3 * forward_seconds(model, request.prompt.tokens.numel(), unembed=False)
    text = "The number is not taken apart yet: three runs of the prompt."
    wait = seconds if seconds > WAIT else 0.0
    if not started(call_key(direct_attribution, args, {}), wait, text, is_kept(direct_attribution, *args)):
        return None
    of = analyse(direct_attribution, *args)
    null = analyse(asked_at_random, *args, DRAWS, seed)
    cfg = model.cfg
    own = np.asarray(of.heads(cfg.n_layers, cfg.n_heads))[0]
    head = heads.current(view, largest_head(np.abs(own)))
    return Parts(of, null, thresholds_of(null), head, analyse(source_split, *args, head))


def thresholds_of(null: DirectAttribution) -> dict[str, float]:
    """For each kind of part, the 95th percentile over random tokens of the largest by size."""
    parts, found = as_tensor(null.parts), {}
    for kind in ("head", "mlp"):
        at = [place for place, write in enumerate(null.writes) if write.kind == kind]
        if at:
            found[kind] = family_wise_threshold(parts[:, at].abs())
    return found


def end_if_waiting(view: "ViewState", request: Request, found: Parts | None) -> Parts:
    """The parts; the page ends here while they wait for a click."""
    if found is None:
        parts.provenance(view, request.model)
        end_page()
    return found
