"""The Model page: the fidelity card. Every number of the model found a second way, when the visitor asks for it."""

from __future__ import annotations

import pandas as pd
import streamlit as st
import torch
from jaxtyping import Int
from torch import Tensor

from lens.analysis.checks import Check
from lens.analysis.fidelity import CHECKS, LONGEST, QUICK_FIRST, fidelity_check
from lens.analysis.memory import weight_bytes
from lens.figures.facts import Verdict, size, verdicts
from lens.hooked import HookedTransformer
from lens.ui.calls import call_key, is_kept, sweep
from lens.ui.ending import end_page
from lens.ui.estimate import forward_seconds
from lens.ui.models import read_prompt
from lens.ui.outcome import Explanation, Export, Outcome
from lens.ui.view import ViewState
from lens.ui.waiting import AGREED, offer, remembered

COPY_SECONDS = 25  # for each 1e9 bytes of weights: folding, checking every number, opening the files a second time
GGUF_SECONDS = 20  # in which transformers reads a GGUF's vocabulary, three times over
RANDOM = 16  # ids, where no text can be read
MISREADING = (
    "Green says that this model computes what its own weights and config say, as another library does. It does not say "
    "that the files are the ones that were published, nor that anything on another page is read rightly. A difference "
    "below the tolerance is not zero: single predictions that are nearly tied may still swap."
)
FORMULA = r"\max_i |a_i - b_i| \;\le\; k \cdot \varepsilon \cdot \max(1, \max_i |a_i|)"
WHERE = (
    "a and b are one quantity, computed in two ways; ε is the rounding of the number format, k the roundings that are "
    "allowed: 256 through all layers, 64 within an MLP, 16 in one sum or product. Counts and masked attention must be "
    "exactly 0. On the test models of all families the largest difference is about a tenth of its tolerance."
)


def draw(view: ViewState, model: HookedTransformer) -> Outcome:
    """The whole tab."""
    tokens = _tokens(view, model)
    n_tokens = tokens.shape[1]
    _ask(model, tokens)
    place = st.empty()
    done = sweep(fidelity_check, QUICK_FIRST, model, tokens, show=lambda known: place.html(card(known))).done
    place.html(card(done))
    table = pd.DataFrame([{**check._asdict(), "passed": check.passed} for check in in_order(done)])
    payload = {"tokens": tokens.cpu().numpy(), "checks": table.to_dict("records")}
    reads_prompt = model.tokenizer is not None
    files = Export("fidelity", card(done), table, payload, code(model, n_tokens), reads_prompt)
    return Outcome(Explanation(notice(done, n_tokens), MISREADING, formula=FORMULA, where=WHERE), files)


def code(model: HookedTransformer, n_tokens: int) -> str:
    """The Python that checks again."""
    random = f"__import__('torch').arange({n_tokens})[None] % {model.cfg.d_vocab}"
    tokens = f"tokens[:, :{n_tokens}]" if model.tokenizer is not None else random
    return (
        "from lens.analysis.fidelity import fidelity\n\n"
        f"for name, check in fidelity(model, {tokens}).items():\n"
        "    print(name, check.passed, check.value, check.tolerance, check.missing)"
    )


def _tokens(view: ViewState, model: HookedTransformer) -> Int[Tensor, "1 pos"]:
    """The beginning of the prompt; the first ids where the model cannot read text."""
    if model.tokenizer is not None:
        return read_prompt(view, model).tokens[:, :LONGEST]
    n = min(RANDOM, model.cfg.n_ctx)
    view.note(f"{model.name} has no tokenizer: checked on the ids 0 to {n - 1} instead of the prompt")
    return torch.arange(n)[None] % model.cfg.d_vocab


def _ask(model: HookedTransformer, tokens: Int[Tensor, "1 pos"]) -> None:
    """Go on only after a click, unless all of it is known already."""
    known = all(is_kept(fidelity_check, name, model, tokens) for name in QUICK_FIRST)
    whole = call_key(fidelity_check, ("all", model, tokens), {})
    if known or whole in remembered(AGREED):
        return
    sentence = (
        f"**{len(CHECKS)} checks of this model on the first {tokens.shape[1]} tokens:** is attention a distribution "
        "that never looks ahead, do q, k and the config give the patterns, do the MLPs give what they write, do the "
        "parts add up to the logits, do folded weights say the same, and does `transformers` compute the same from "
        f"the same files? Each is green, or shows the number that fails. It takes {size(weight_bytes(model))} more "
        "memory meanwhile."
    )
    offer(whole, sentence, f"Check it, about {seconds(model, tokens.shape[1]):.0f} s")
    end_page()


def seconds(model: HookedTransformer, n_tokens: int) -> float:
    """Rough time for all checks."""
    copies = COPY_SECONDS * weight_bytes(model) / 1e9
    gguf = GGUF_SECONDS if "GGUF" in model.note or "Q4" in model.note or model.name.endswith(".gguf") else 0
    return 2 + copies + gguf + len(CHECKS) * forward_seconds(model, n_tokens)


def in_order(done: dict[str, Check]) -> list[Check]:
    """What is computed so far, the widest claim first."""
    return [done[name] for name in CHECKS if name in done]


def card(done: dict[str, Check]) -> str:
    """The card as escaped HTML."""
    return verdicts([verdict(check) for check in in_order(done)], f"Fidelity: {len(done)} of {len(CHECKS)} checks")


def verdict(check: Check) -> Verdict:
    """One check as a line: green, red with the number, or why it was not computed."""
    if check.passed is None:
        return Verdict(check.name, "none", "not computed", "", f"{check.claim}: not computed because {check.missing}.")
    state, word = ("good", "holds") if check.passed else ("bad", "FAILS")
    detail = f"{check.claim}. Tolerance {check.tolerance:.2g}: {check.why}."
    where = f" ({check.where})" if check.where else ""
    return Verdict(check.name, state, word, f"{check.value:.2g} {check.unit}{where}", detail)


def notice(done: dict[str, Check], n_tokens: int) -> str:
    """What came out, from the numbers."""
    checks = in_order(done)
    failed = [check for check in checks if check.passed is False]
    held = [check for check in checks if check.passed]
    missing = len(checks) - len(failed) - len(held)
    why = f"; {missing} could not be computed, and {'say' if missing > 1 else 'says'} why" if missing else ""
    left = f" {len(CHECKS) - len(checks)} are not done yet." if len(checks) < len(CHECKS) else ""
    if failed:
        worst = ", ".join(f"{check.name} by {check.value:.2g} {check.unit} ({check.where})" for check in failed)
        words = f"{len(failed)} of {len(checks)} checks FAIL on {n_tokens} tokens: {worst}"
        return f"{words}{why}. Do not rely on this model's numbers.{left}"
    words = f"{len(held)} of {len(checks)} checks hold on {n_tokens} tokens{why}."
    shares = {check.name: check.value / check.tolerance for check in held if check.tolerance}
    if shares:
        name = max(shares, key=shares.get)
        words += f" The closest to its tolerance is '{name}', with {shares[name]:.0%} of it."
    return words + left
