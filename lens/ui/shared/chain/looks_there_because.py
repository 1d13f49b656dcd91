"""Third link: what the head's keys and queries read, so that it looks where it looks, and what cutting it leaves."""

from lens.figures.bars import bars
from lens.figures.fitted import narrow
from lens.ui import parts
from lens.ui.models import model_key
from lens.ui.shared import reason_words as words
from lens.ui.shared import reasons
from lens.ui.shared.chain.link import NOT_YET, Case, Finding, explain_link, may_start
from lens.ui.shared.reasons import Answer
from lens.ui.shared.wording import percent

WIDTH = 520  # pixels of the column, in full
UNIT = "score before the softmax"
DRAWN = 4  # writes of each side
HELP = (
    "The score of its stripe before the softmax, minus that of the query's other keys, as a sum over what wrote into "
    "the queries and into the keys; the control is subtracted."
)


def find(case: Case) -> Finding:
    """The mechanism that makes its stripe, with the largest write that its keys and its queries read."""
    if why := reasons.why_not(case.model):
        return Finding("no sum over writes", "none", None, why)
    key = f"looks-{model_key(case.model)}-{case.head}-{case.sample.settings}"
    seconds = reasons.stripe_seconds(case.model, case.head, case.sample)
    if not may_start(case, key, seconds, f"What head {case.head} reads is not split and cut yet."):
        return NOT_YET
    of = reasons.stripe_answer(case.model, case.head, case.sample, case.view["seed"])
    found = of.mechanism
    numbers = {
        "contrast": reasons.average(of.reasons.text.total),
        "contrast of the control": reasons.average(of.reasons.control.total),
        "keys read": str(of.keys.write),
        "queries read": str(of.queries.write),
        "mechanism": found.name,
        "unexplained": found.unexplained,
        "verdict": found.verdict.reason,
    }
    state = {"found": "found", "none": "none", "unknown": ""}[found.verdict.state]
    return Finding(_few_words(of), state, numbers, of)


def _few_words(of: Answer) -> str:
    if of.mechanism.verdict.state == "none":
        return (
            "positions alone" if of.mechanism.name == "positions" and of.mechanism.control_too else "nothing to explain"
        )
    keys, queries = (f"{side.write} ({percent(side.share)})" for side in (of.keys, of.queries))
    return f"keys read {keys}, queries {queries}"


def draw(case: Case, finding: Finding) -> Finding:
    """Short: the mechanism in a sentence. In full: the largest writes of both sides, and the cut as well."""
    if finding.state == "later":
        return finding
    if isinstance(finding.result, str):
        if case.full:
            parts.not_computed(finding.result)
        else:
            explain_link(case, f"Not computed because {finding.result}")
        return finding
    of = finding.result
    if not case.full:
        explain_link(case, words.short_words(of))
        return finding
    for side in ("k", "q"):
        title = f"Its {reasons.SIDES[side]} read"
        rows = reasons.side_bars(of, side, DRAWN)
        alt = f"{title}: " + ", ".join(f"{row.label} {row.value:.2f}" for row in rows)
        figure = bars(rows, UNIT if side == "q" else "", title=title)
        parts.chart(narrow(figure, WIDTH), alt, key=f"head:reads:{side}")
    help = parts.metric_help(HELP, "nats of log-odds between keys", "the grey diamonds: the paired control")
    contrast = f"The score of its stripe is {words.contrast_words(of)}."
    explain_link(case, f"{contrast} {words.short_words(of)} {words.cut_words(of)}", help=help)
    return finding
