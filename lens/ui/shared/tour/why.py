"""Why does this head work? What the visitor did at each step, and what its data say."""

from typing import TYPE_CHECKING

import numpy as np

from lens.figures.theme import number
from lens.ui.ending import end_page
from lens.ui.fields import DEFAULT_PROMPT
from lens.ui.models import read_prompt
from lens.ui.shared import reason_words, reasons, repeats
from lens.ui.shared.chain import matters, scores
from lens.ui.shared.patterns import attention, marked
from lens.ui.shared.tour.check import Check, feeder_of, other_head
from lens.ui.shared.wording import interval, percent, signed

if TYPE_CHECKING:
    from lens.analysis.names import Head
    from lens.ui.shared.chain.link import Case
    from lens.ui.view import ViewState

LONGEST = 256  # tokens of a prompt that are searched for what comes again


def scores_most(case: "Case", view: "ViewState") -> Check:
    """The strongest head is selected."""
    if view.selected is None:
        return Check(False, "No head is selected yet.")
    if view.selected != case.head:
        return Check(False, f"Head {view.selected} is selected; another cell is brighter.")
    return Check(True, scores.score_sentence(case, scores.find(case).result))


def looks_back(case: "Case", view: "ViewState") -> Check:
    """A token of the second copy is followed, on the repeat."""
    if other := other_head(view, case.head):
        return other
    if view["reads"] != "repeat":
        return Check(False, "The head reads the prompt: choose Random repeat under Reads.")
    query, n, bos = view["query"], case.sample.settings.n, case.sample.repeated.bos
    first = int(bos) + n
    if query is None or query < first:
        return Check(False, f"No token of the second copy is locked yet; it begins at position {first}.")
    pattern = attention(case.model, case.sample.repeated.tokens[0], case.head)
    if query >= len(pattern):
        return Check(False, f"The tokens end at position {len(pattern) - 1}.")
    key, most = query - n + 1, int(pattern[query].argmax())
    text = f"At position {query} head {case.head} gives {percent(pattern[query, key])} of its attention to position "
    text += f"{key}, the token after the same one {n} tokens before"
    return Check(True, f"{text}." if most == key else f"{text}; most, {percent(pattern[query, most])}, to {most}.")


def own_words(case: "Case", view: "ViewState") -> Check:
    """The prompt is the visitor's own, something in it comes again, and the head reads it."""
    if other := other_head(view, case.head):
        return other
    if view["reads"] != "prompt":
        return Check(False, "The head reads the random repeat: choose Prompt under Reads.")
    if not view["prompt"].strip() or view["prompt"] == DEFAULT_PROMPT:
        return Check(False, "This is still the prompt that Lens begins with.")
    tokens = read_prompt(case.view, case.model, LONGEST).tokens[0].cpu().numpy()
    cells = marked("induction", tokens, None).cells
    if not cells:
        return Check(False, "In this text no token comes again with another one after its first time.")
    pattern = attention(case.model, tokens, case.head)
    queries = sorted({query for query, _ in cells})
    there = np.mean([sum(pattern[cell] for cell in cells if cell[0] == query) for query in queries])
    alike = np.mean([sum(1 / (query + 1) for at, _ in cells if at == query) for query in queries])
    times = "once a token comes" if len(queries) == 1 else f"{len(queries)} times a token comes"
    text = f"In your text {times} again; there head {case.head} gives {percent(there)} of its attention to what "
    return Check(True, f"{text}followed before. Attention to all tokens alike would give {percent(alike)}.")


def reads(case: "Case", view: "ViewState") -> Check:
    """The tab of every cut is open, for the stripe of this head."""
    if other := other_head(view, case.head):
        return other
    if view["where"] != "stripe":
        return Check(False, "A cell of the prompt is asked about: choose “Its stripe on repeats”.")
    if view["more"] != "cuts":
        return Check(False, "The tab “Every cut” is not open yet.")
    of = reasons.stripe_answer(case.model, case.head, case.sample, case.view["seed"])
    return Check(True, reason_words.cut_words(of))


def without(case: "Case", view: "ViewState") -> Check:
    """The head that its keys read most is among those that are removed."""
    if view["task"] != "induction":
        return Check(False, "Another task is chosen: choose Induction loss.")
    feeder = feeder_of(case)
    removed = {"head": (view.selected,), "pins": view["pins"] or (view.selected,)}.get(view["what"])
    if removed is None:
        return Check(False, f"A whole layer is removed; the keys of head {case.head} read one head most.")
    if feeder not in removed:
        names = ", ".join(map(str, filter(None, removed))) or "Another head"
        return Check(False, f"{names} is removed, not yet the head that the keys of head {case.head} read most.")
    return Check(True, _removal_words(_as_on_page(case, view, feeder)))


def _as_on_page(case: "Case", view: "ViewState", head: "Head") -> "Case":
    """``head`` on the sequences that the page of ablations draws."""
    chosen = repeats.Settings(view["block"], view["pairs"], view["seed"], case.model.bos.id is not None)
    sample = case.sample._replace(repeated=repeats.tokens(case.model, chosen), settings=chosen)
    return case._replace(head=head, sample=sample)


def _removal_words(case: "Case") -> str:
    if (result := matters.find(case).result) is None:
        end_page()
    _, removal = result
    others = np.abs(np.asarray(removal.others))
    as_much, rise = int((others >= abs(removal.change)).sum()), interval(removal.low, removal.high)
    share = "" if removal.share is None else f", {percent(removal.share.value)} of the way to no repetition at all"
    return (
        f"Without head {case.head} the loss of the second copy goes from {number(removal.base)} to "
        f"{number(removal.base + removal.change)} nats: {signed(removal.change)}{rise}{share}. Of the {len(others)} "
        f"other heads of its layer, {as_much} {'does' if as_much == 1 else 'do'} as much. {removal.verdict.reason}"
    )


CHECKS = (scores_most, looks_back, own_words, reads, without)
