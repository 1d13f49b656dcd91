"""Third link: whether the head's OV weights copy, beside their null, and in full what it writes on data."""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import streamlit as st

from lens.analysis.copying_on_data import copying_on_data
from lens.analysis.copying_verdicts import DIFFER, LEAST_SCORE, RULE, Side, by_data, differ
from lens.analysis.ov_copying import DRAWS, circuit_of, copying_of, null_eigenvalues, ov_cores
from lens.figures.eigenvalues import eigenvalues
from lens.figures.fitted import narrow
from lens.figures.theme import number
from lens.ui import parts
from lens.ui.calls import analyse, call_key, result_store
from lens.ui.estimate import operation_seconds
from lens.ui.models import model_key
from lens.ui.shared import repeats
from lens.ui.shared.chain.link import NOT_YET, Case, Finding, may_start
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


class Copied(NamedTuple):
    """One head's full OV circuit; ``low`` to ``high`` is the central 95% of what random rotations of it score."""

    score: float  # Σλ / Σ|λ|, −1 … 1; NaN for a head that writes nothing
    rank: int  # 1 is the largest score of all heads
    n_heads: int
    low: float
    high: float
    eigenvalues: np.ndarray
    draws: np.ndarray  # eigenvalues [draw, d_head] under the rotations
    seed: int

    @property
    def verdict(self) -> str:
        """Where the score lies: above, below or within its null."""
        return "above" if self.score > self.high else "below" if self.score < self.low else "within"

    @property
    def sign(self) -> int:
        """1 it copies, −1 it writes the opposite: outside its null, and by enough; 0 neither is shown.

        For this one head, which was asked for: by chance at most one in twenty.
        """
        if abs(self.score) < LEAST_SCORE:
            return 0
        return {"above": 1, "below": -1, "within": 0}[self.verdict]

    @property
    def chance(self) -> str:
        """The null in words."""
        return f"{number(self.low)} to {number(self.high)}"

    @property
    def words(self) -> str:
        """The score with its rank and its null."""
        return (
            f"Copying score {number(self.score)}, rank {self.rank} of {self.n_heads}, {self.verdict} what {DRAWS} "
            f"random rotations give ({self.chance}, seed {self.seed})."
        )


def find(case: Case) -> Finding:
    """The copying score of its OV weights against random rotations of them."""
    cfg = case.model.cfg
    seconds = operation_seconds(case.model, 2 * cfg.d_vocab * cfg.d_model**2)  # through the vocabulary
    if not case.full and not may_start(case, f"copies-{model_key(case.model)}-{case.head}", seconds, ""):
        return NOT_YET
    found = copied(case.model, case.head, case.view["seed"])
    if found is None:
        return Finding("writes nothing", "none")
    numbers = {"copying score": found.score, "copying rank": found.rank, "null": [found.low, found.high]}
    state = "found" if found.sign > 0 else "none"
    return Finding(f"{number(found.score)}, {found.verdict} its null", state, numbers, found)


def copied(model: "HookedTransformer", head: "Head", seed: int) -> Copied | None:
    """The copying score of one head from weights alone; None for a head that writes nothing: its score is 0 / 0."""
    cores = analyse(ov_cores, model, progress=True)
    full = analyse(copying_of, to_torch(cores)).full
    score = float(full.score[head])
    if not np.isfinite(score):
        return None
    draws = analyse(null_eigenvalues, to_torch(cores.full[head]), DRAWS, seed)
    rotated = analyse(circuit_of, to_torch(draws)).score
    low, high = (float(end) for end in np.quantile(rotated, [0.025, 0.975]))
    rank = 1 + int((full.score > score).sum())
    return Copied(score, rank, full.score.size, low, high, full.eigenvalues[head], draws, seed)


def draw(case: Case, finding: Finding) -> Finding:
    """Short: its sentence. In full: the eigenvalues as well, and the direct path on repeats."""
    found = finding.result
    if finding.state == "later":
        return finding
    if found is None and case.full:
        parts.not_computed(f"head {case.head} writes nothing: all its eigenvalues are 0.")
    elif found is None:
        st.markdown("It writes nothing: all eigenvalues of its OV circuit are 0.")
    elif case.full:
        _draw_eigenvalues(case, found)
        gain = _draw_on_data(case, found)
        if gain is not None:
            return finding._replace(numbers=finding.numbers | {"ranks gained on repeats": gain})
    else:
        st.markdown(f"{found.words} {SAID[found.sign]}")
    return finding


def _draw_eigenvalues(case: Case, found: Copied) -> None:
    title = f"Head {case.head}: OV eigenvalues, full circuit"
    note = f"Grey: {DRAWN} of {DRAWS} random rotations between values and output. Right is copying."
    log = case.view["radius"] == "log"
    figure = eigenvalues(found.eigenvalues, found.draws[:DRAWN], title=title, definition=note, log=log)
    parts.chart(narrow(figure, WIDTH), f"{title}. {note}", key="head:eigenvalues")
    st.markdown(found.words, help=parts.metric_help(DEFINITIONS["full"], "−1 … 1", found.chance))


def _draw_on_data(case: Case, found: Copied) -> float | None:
    """The direct path on repeats beside the weights; returns by how many ranks the target rises.

    Computed when short, asked for or known: it reads all sequences once more, to the end.
    """
    head, repeated = case.head, to_torch(case.sample.repeated)
    key = call_key(copying_on_data, (case.model, repeated), {})
    seconds, done = repeats.seconds(case.model, case.sample.settings), result_store().get(key) is not None
    if not may_start(case, f"on-data-{key}", seconds, "What it writes on the repeats is not computed yet.", done):
        return None
    scores = analyse(copying_on_data, case.model, repeated, progress=True)
    rank, logit = scores["target_rank"], scores["target_logit"]
    value, control = float(rank.score.mean[head]), float(rank.null_mean[head])
    among = round(2 * rank.uniform) + 1
    text = (
        f"On repeats it puts the induction target at rank {number(value)} of {among} (control {number(control)}), "
        f"direct logit {number(float(logit.score.mean[head]))}, {more_than_control(logit.effect, head)}."
    )
    side = analyse(by_data, *to_torch((logit.effect, scores.z, scores.written)), "sequences", family=1)
    weights = np.full(side.sign.shape, found.score, np.float32)
    on_data = OnData(scores, side, analyse(differ, to_torch(weights), to_torch(side)))
    said = verdict(weights, null_of(found, side.sign.shape), on_data, head, "the induction target")
    text += f" {said or f'No verdict: {side.few}.'}"
    st.markdown(text, help=parts.metric_help(f"{logit.kind.definition} {RULE} {DIFFER}", "logits", logit.kind.null))
    return control - value


def null_of(found: Copied, shape: tuple[int, int]) -> Null:
    """The verdict of this one head, in the form of all heads."""
    sign = np.full(shape, found.sign)
    return Null(None, Side(sign, np.zeros(shape, bool), ""))
