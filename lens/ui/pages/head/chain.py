"""The page of one head: which head it is, and the links of the chain, each computed by one function.

A link draws itself in its place and returns a ``Finding`` for the outline above. A part that computes a further link
replaces its entry in ``LINKS``; nothing else changes.
"""

import html
from collections.abc import Callable
from typing import Any, NamedTuple

import streamlit as st

from lens.ui import parts
from lens.ui.pages.home import start as home
from lens.ui.shared import repeats
from lens.ui.shared import score_words as scores
from lens.ui.view import ViewState
from lens.ui.widgets import button, number

PICKER = "Zero-based. Nothing chosen and nothing pinned: the strongest induction head."
MISREADING = (
    "The links are separate claims. A head can attend to the right token and copy nothing, copy and never look, or do "
    "both while the model has another way to the same answer. Only an intervention shows that it matters, and only "
    "checkpoints show when it came."
)


class Finding(NamedTuple):
    """What a link found, in a few words. ``state``: "found", "none" (within chance), "" (no verdict), "later"."""

    words: str
    state: str = ""
    row: dict[str, Any] | None = None  # numbers for the export, by name


class Link(NamedTuple):
    """One link of the chain. ``show(view, model, head, data)`` draws it."""

    name: str
    question: str
    show: Callable[[ViewState, Any, tuple[int, int], Any], Finding]


class Data(NamedTuple):
    """What several links read, computed once."""

    sample: repeats.Sample


def choose_head(view: ViewState, model: Any) -> tuple[tuple[int, int], Data]:
    """The head the page is about, and the scores that name it when none is chosen."""
    place = st.container(horizontal=True, vertical_alignment="bottom")
    data = Data(repeats.sample(model, repeats.settings(view, model)))
    best = scores.strongest(data.sample.scores["induction"])
    view.select(*(view.current() or best))
    with place:
        layer, head = _picker(view, "layer", model.cfg.n_layers), _picker(view, "head", model.cfg.n_heads)
        parts.pin_button(view, (layer, head), "head:pin")
        if (layer, head) != best:
            words = f"Strongest induction head: {best[0]}.{best[1]}"
            button(words, "The largest induction score of all heads.", view.select, *best, key="head:best")
    return (layer, head), data


def _picker(view: ViewState, name: str, size: int) -> int:
    return int(number(view, name, (0, size - 1), name.capitalize(), PICKER, width=120))


def links() -> tuple[Link, ...]:
    """The chain in its order."""
    from lens.ui.pages.head import attends as head_attends
    from lens.ui.pages.head import born as head_born
    from lens.ui.pages.head import copies as head_copies
    from lens.ui.pages.head import feeders as head_feeders
    from lens.ui.pages.head import matters as head_matters
    from lens.ui.pages.head import scored as head_scored

    return (
        Link("attends", "Where does it look, on the prompt?", head_attends.show),
        Link("scores", "Is that more than chance?", head_scored.show),
        Link("copies", "Would it write what it looks at?", head_copies.show),
        Link("is fed", "Which earlier heads does it read?", head_feeders.show),
        Link("matters", "Does the model need it?", head_matters.show),
        Link("was born", "When did it appear in training?", head_born.show),
    )


def show_chain(view: ViewState, model: Any, head: tuple[int, int], data: Data) -> dict[str, Finding]:
    """All links, two side by side, under an outline that fills as they are found."""
    st.html(home.STYLE)
    outline, found = st.empty(), {}
    chain = links()
    for first in range(0, len(chain), 2):
        pair = chain[first : first + 2]
        for column, link in zip(st.columns(2, gap="medium"), pair):
            with column.container(border=True, height="stretch"):
                number = 1 + [one.name for one in chain].index(link.name)
                st.html(_heading(number, link))
                draw_outline(outline, chain, found)
                found[link.name] = link.show(view, model, head, data)
    draw_outline(outline, chain, found)
    return found


def draw_outline(place: Any, chain: tuple[Link, ...], found: dict[str, Finding]) -> None:
    """One line of links; those that are not there yet are being computed."""
    items = ""
    for step, link in enumerate(chain, 1):
        finding = found.get(link.name, Finding("computing …"))
        words = html.escape(finding.words)
        items += f'<li class="{finding.state}" data-step="{step}"><b>{link.name}</b><span>{words}</span></li>'
    style = f'style="grid-template-columns:repeat({len(chain)},1fr)"'
    place.html(f'<ol class="lens-chain" {style} aria-label="The chain of evidence for one head">{items}</ol>')


def _heading(number: int, link: Link) -> str:
    return f'<div class="lens-begin">{number} · It {link.name} <span>{html.escape(link.question)}</span></div>'


def summary(head: tuple[int, int], found: dict[str, Finding]) -> str:
    """What the links say together."""
    said = [f"{name}: {finding.words}" for name, finding in found.items() if finding.state != "later"]
    later = [name for name, finding in found.items() if finding.state == "later"]
    asks = [f"{'when' if name == 'was born' else 'whether'} it {name}" for name in later]
    text = f"Head {head[0]}.{head[1]}. {'; '.join(said)}."
    return f"{text} Not shown: {' and '.join(asks)}." if asks else text


def explain(view: ViewState, model: Any, head: tuple[int, int], found: dict[str, Finding]) -> None:
    """What belongs to all links together."""
    parts.notice(summary(head, found))
    parts.misreading(MISREADING)
    parts.provenance(view, model)


def take_away(view: ViewState, model: Any, head: tuple[int, int], data: Data, found: dict[str, Finding]) -> None:
    """The formulas of the links, and the export panel."""
    from lens.figures.grid import grid
    from lens.ui.export import Export, export
    from lens.ui.pages.head import export as head_export
    from lens.ui.pages.head import scored as head_scored
    from lens.ui.pages.ov_copying import words as ov_words

    formulas = rf"{scores.FORMULAS['induction']} \\[1em] {ov_words.FORMULA}"
    parts.formula(formulas, f"h is head {head[0]}.{head[1]}. {ov_words.WHERE}")
    sample = data.sample
    code = head_export.python(view, model, head, data, found)
    links_found = {name: {"words": one.words, "numbers": one.row} for name, one in found.items()}
    payload = {"head": head, "links": links_found, "source": sample.scores.source, "seed": sample.scores.seed}
    title = f"Induction: head {head[0]}.{head[1]} among all"
    figure = grid(scores.measure(sample.scores["induction"]), pinned=view["pins"], current=head, title=title)
    table = head_scored.table(sample, head)
    export(view, Export(f"head-{head[0]}-{head[1]}", figure, table, payload, code, reads_prompt=False))
