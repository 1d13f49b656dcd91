"""Fourth link: whether the head's OV weights copy, beside their null, and in full what it writes on data."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from lens.analysis.copying_on_data import copying_on_data, from_one
from lens.analysis.copying_verdicts import DIFFER, RULE, HeadCopying, Side, by_data, differ, head_copying
from lens.analysis.ov_copying import DRAWS, circuit_of, copying_of, null_eigenvalues, ov_cores
from lens.figures.eigenvalues import eigenvalues
from lens.figures.fitted import narrow
from lens.figures.theme import number
from lens.ui import parts
from lens.ui.calls import analyse, call_key, is_kept
from lens.ui.estimate import operation_seconds
from lens.ui.models import model_key
from lens.ui.shared import repeats
from lens.ui.shared.chain.link import NOT_YET, Case, Finding, explain_link, may_start
from lens.ui.shared.copying_words import DEFINITIONS, Null, OnData, more_than_control, verdict
from lens.ui.store import to_torch

if TYPE_CHECKING:
    from lens.analysis.names import Head
    from lens.hooked import HookedTransformer

DRAWN = 40  # draws of the null that are drawn as points
WIDTH = 520  # pixels of the column, in full
SAID = {
    1: "By its weights, it raises the token it looks at.",
    0: "By its weights, it cannot be said to copy.",
    -1: "By its weights, it lowers the token it looks at.",
}


class Eigenvalues(NamedTuple):
    """One head's full OV circuit, and what its score says beside its null."""

    of: HeadCopying
    own: np.ndarray  # [d_head]
    draws: np.ndarray  # [draw, d_head] under the rotations
    seed: int

    @property
    def chance(self) -> str:
        """The null in words."""
        return f"{number(self.of.low)} to {number(self.of.high)}"

    @property
    def words(self) -> str:
        """The score with its rank and its null."""
        return (
            f"Copying score {number(self.of.score)}, rank {self.of.rank} of {self.of.n_heads}, {self.of.verdict} what "
            f"{DRAWS} random rotations give ({self.chance}, seed {self.seed})."
        )


def find(case: Case) -> Finding:
    """The copying score of its OV weights against random rotations of them."""
    cfg = case.model.cfg
    seconds = operation_seconds(case.model, 2 * cfg.d_vocab * cfg.d_model**2)  # through the vocabulary
    if not case.full and not may_start(case, f"copies-{model_key(case.model)}-{case.head}", seconds, ""):
        return NOT_YET
    circuit = eigenvalues_of(case.model, case.head, case.view["seed"])
    if circuit is None:
        return Finding("writes nothing", "none")
    of = circuit.of
    numbers = {"copying score": of.score, "copying rank": of.rank, "null": [of.low, of.high]}
    state = "found" if of.sign > 0 else "none"
    return Finding(f"{number(of.score)}, {of.verdict} its null", state, numbers, circuit)


def eigenvalues_of(model: HookedTransformer, head: Head, seed: int) -> Eigenvalues | None:
    """The OV circuit of one head from weights alone; None for a head that writes nothing."""
    cores = analyse(ov_cores, model, progress=True)
    full = analyse(copying_of, to_torch(cores)).full
    if not np.isfinite(full.score[head]):
        return None
    draws = analyse(null_eigenvalues, to_torch(cores.full[head]), DRAWS, seed)
    of = head_copying(full.score, analyse(circuit_of, to_torch(draws)).score, head)
    return Eigenvalues(of, full.eigenvalues[head], draws, seed)


def draw(case: Case, finding: Finding) -> Finding:
    """Short: its sentence. In full: the eigenvalues as well, and the direct path on repeats."""
    circuit = finding.result
    if finding.state == "later":
        return finding
    if circuit is None and case.full:
        parts.not_computed(f"head {case.head} writes nothing: all its eigenvalues are 0.")
    elif circuit is None:
        explain_link(case, "It writes nothing: all eigenvalues of its OV circuit are 0.")
    elif case.full:
        _draw_eigenvalues(case, circuit)
        gain = _draw_on_data(case, circuit)
        if gain is not None:
            return finding._replace(numbers=finding.numbers | {"ranks gained on repeats": gain})
    else:
        explain_link(case, f"{circuit.words} {SAID[circuit.of.sign]}")
    return finding


def _draw_eigenvalues(case: Case, circuit: Eigenvalues) -> None:
    title = f"Head {case.head}: OV eigenvalues, full circuit"
    note = f"Grey: {DRAWN} of {DRAWS} random rotations between values and output. Right is copying."
    log = case.view["radius"] == "log"
    figure = eigenvalues(circuit.own, circuit.draws[:DRAWN], title=title, definition=note, log=log)
    parts.chart(narrow(figure, WIDTH), f"{title}. {note}", key="head:eigenvalues")
    explain_link(case, circuit.words, help=parts.metric_help(DEFINITIONS["full"], "−1 … 1", circuit.chance))


def _draw_on_data(case: Case, circuit: Eigenvalues) -> float | None:
    """The direct path on repeats beside the weights; returns by how many ranks the target rises.

    Computed when short, asked for or known: it reads all sequences once more, to the end.
    """
    head, of, repeated = case.head, circuit.of, to_torch(case.sample.repeated)
    key = call_key(copying_on_data, (case.model, repeated), {})
    seconds, done = repeats.seconds(case.model, case.sample.settings), is_kept(copying_on_data, case.model, repeated)
    if not may_start(case, f"on-data-{key}", seconds, "What it writes on the repeats is not computed yet.", done):
        return None
    scores = analyse(copying_on_data, case.model, repeated, progress=True)
    rank, logit = from_one(scores["target_rank"]), scores["target_logit"]
    value, control = float(rank.score.mean[head]), float(rank.null_mean[head])
    text = (
        f"On repeats it puts the induction target at rank {number(value)} of {round(2 * rank.uniform) - 1} (control "
        f"{number(control)}), direct logit {number(float(logit.score.mean[head]))}, "
        f"{more_than_control(logit.effect, head)}."
    )
    side = analyse(by_data, *to_torch((logit.effect, scores.z, scores.written)), "sequences", family=1)
    weights = np.full(side.sign.shape, of.score, np.float32)
    on_data = OnData(scores, side, analyse(differ, to_torch(weights), to_torch(side)))
    # The verdict of this one head, in the form of all heads.
    null = Null(None, Side(np.full(side.sign.shape, of.sign), np.zeros(side.sign.shape, bool), ""))
    agree = verdict(weights, null, on_data, head, "the induction target") or f"No verdict: {side.few}."
    help = parts.metric_help(f"{logit.kind.definition} {RULE} {DIFFER}", "logits", logit.kind.null)
    explain_link(case, f"{text} {agree}", help=help)
    return control - value
