"""One head on text: how far it looks, single looks, tokens by lift, and its numbers beside prompt and random tokens."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

import pandas as pd
import streamlit as st

from lens.analysis.corpus.head import head_on_text, scores_on_text, selectivity, with_first
from lens.analysis.corpus.reading import Corpus, join, of_head, read_documents
from lens.analysis.instruments.duplicate import DUPLICATE
from lens.analysis.instruments.induction import INDUCTION
from lens.analysis.instruments.patterns import join as join_readings
from lens.analysis.instruments.registry import instrument
from lens.analysis.score_summary import standing
from lens.arrays import as_tensor
from lens.figures.distances import DistanceShare, distances
from lens.figures.theme import number as written
from lens.tokens import TokenBatch
from lens.ui import parts
from lens.ui.calls import analyse
from lens.ui.ending import PageOver
from lens.ui.explanation import Explanation, explain
from lens.ui.export import Export, export
from lens.ui.labels import token_labels
from lens.ui.models import read_prompt
from lens.ui.pages.head import LOOKS, text_sample, text_words
from lens.ui.pages.head.looks import looks_html, place_words
from lens.ui.pages.head.text_words import Quantity
from lens.ui.shared import score_words
from lens.ui.shared.chain.attends import LONGEST
from lens.ui.store import to_torch
from lens.ui.widgets import fold, segmented

if TYPE_CHECKING:
    import plotly.graph_objects as go
    from streamlit.delta_generator import DeltaGenerator

    from lens.analysis.corpus.head import HeadOnText, Selectivity, TokenLift
    from lens.analysis.instruments.sample import Sample
    from lens.analysis.names import Head
    from lens.analysis.score_results import HeadScores
    from lens.hooked import HookedTransformer
    from lens.ui.shared.chain.link import Case

TOKENS = 8  # of each list
LOOKS_HELP = (
    "A look: a query and the key that it attends to most, the first token aside. **Largest:** of the whole text, "
    "exactly. **By tenth:** drawn from each tenth of all queries, since the largest alone mislead."
)
COLUMNS = {
    "on the text": "Mean over documents.",
    "alike": "Of a head that looks at all keys alike.",
    "your prompt": "The same on the prompt above: one text, no interval.",
    "random tokens": "The same on the random tokens that repeat.",
}


class OnText(NamedTuple):
    """A head on text, and on the prompt where there is one."""

    sample: Sample
    head: Head
    found: HeadOnText
    prompt: Corpus | None  # numpy; the one head
    quantities: list[Quantity]
    selective: dict[str, Selectivity]  # by title of the instrument


def draw(case: Case) -> HeadScores | None:
    """The folded section. The scores of all heads on the text, once it is read; None before."""
    box = fold(case.view, "on_text", "On text: how far it looks, at what, and where")
    if not box.open:
        return None
    with box, suppress(PageOver):
        if case.model.tokenizer is None:
            parts.not_computed("this model has no tokenizer and reads no text.")
            return None
        sample = text_sample.choose_sample(case.view, case.model)
        return None if sample is None else _draw(case, sample)
    return None


def known_scores(case: Case) -> HeadScores | None:
    """The instruments of patterns on the text, of all heads, where the section is open and all of it is read."""
    if not case.view["on_text"]:
        return None
    sample = text_sample.sample_of(case.view, case.model)
    if sample is None or not (cells := text_sample.cells_of(case.model, sample)).are_kept():
        return None
    return _scores(list(cells.sweep().done.values()), sample)


def _scores(done: list[Corpus], sample: Sample) -> HeadScores:
    return analyse(scores_on_text, join_readings([to_torch(one.readings) for one in done]), sample)


def _draw(case: Case, sample: Sample) -> HeadScores | None:
    figure = st.empty()

    def fill(done: Mapping[tuple[int, int], Corpus]) -> None:
        first = join([to_torch(of_head(one, case.head)) for one in done.values()])
        found = head_on_text(first, sample.independent, case.view["seed"], sample.documents)
        n = len(first.look)
        title = f"Head {case.head} on {n} of {sample.size.sequences} {sample.unit}"
        with figure.container():
            parts.chart(_figure(found, None, title), f"{title}, while the rest is read")

    cells = text_sample.cells_of(case.model, sample)
    done, missing = cells.sweep(fill, text_sample.seconds(case.model, sample))
    if missing:
        return None
    scores = _scores(list(done.values()), sample)
    one = join([to_torch(of_head(part, case.head)) for part in done.values()])
    found = analyse(head_on_text, one, sample.independent, case.view["seed"], sample.documents)
    prompt = _prompt(case)
    result = OnText(sample, case.head, found, prompt, quantities(case, scores, prompt), selective(case, scores))
    _show(case, result, figure)
    return scores


def _prompt(case: Case) -> Corpus | None:
    """The same head on the prompt; None for an empty one, or one of a single token."""
    if not case.view["prompt"].strip():
        return None
    tokens = read_prompt(case.view, case.model, LONGEST).tokens
    if tokens.shape[1] < 2:
        return None
    read = analyse(read_documents, case.model, TokenBatch(tokens, tokens >= 0))
    return of_head(read, case.head)


def quantities(case: Case, scores: HeadScores, prompt: Corpus | None) -> list[Quantity]:
    """Every instrument that reads patterns of a text."""
    random, rows = case.sample.scores, []
    for name, score in scores.scores.items():
        facts = standing(score, case.head)
        other = standing(random[name], case.head).value if name in random.scores else None
        verdict = score_words.verdict(score, case.head) if score.above is not None else ""
        how = (facts.value, facts.low, facts.high, score.uniform, _on_prompt(prompt, name, case.head), other, verdict)
        rows.append(Quantity(instrument(name).title, score.kind.unit, *how))
    return rows


def selective(case: Case, scores: HeadScores) -> dict[str, Selectivity]:
    """Of the instruments that mark keys of a text, beside other keys of the same queries."""
    marking = [name for name in (INDUCTION.name, DUPLICATE.name) if name in scores.scores]
    return {instrument(name).title: selectivity(scores[name], case.head) for name in marking}


def _on_prompt(prompt: Corpus | None, name: str, head: Head) -> float | None:
    """An instrument on the prompt; None where it has no query for it."""
    if prompt is None or name not in prompt.readings.names:
        return None
    at = prompt.readings.names.index(name)
    return float(prompt.readings.score[at, 0][head]) if prompt.readings.n_queries[at, 0] else None


def shares(found: HeadOnText, prompt: Corpus | None) -> list[DistanceShare]:
    """The rows of the histogram: the first token, then every bin."""
    mean, low, high = found.shares[:3]
    beside = [] if prompt is None else with_first(as_tensor(prompt.shares))[0].tolist()
    rows = []
    for place, label in enumerate(["first token", "0, itself", *map(str, found.bins[1:])]):
        ends = (None, None) if low is None or high is None else (float(low[place]), float(high[place]))
        there = beside[place] if place < len(beside) else None  # a prompt may be too short to look so far
        even = float(found.even_shares[place])
        rows.append(DistanceShare(label, float(mean[place]), *ends, even, there, apart=not place))
    return rows


def _figure(found: HeadOnText, prompt: Corpus | None, title: str) -> go.Figure:
    return distances(shares(found, prompt), title=title, definition=text_words.SHARES)


def _show(case: Case, of: OnText, place: DeltaGenerator) -> None:
    """Histogram and what to see in it; numbers, looks, tokens; the files."""
    view, model, found, sample = case.view, case.model, of.found, of.sample
    title = f"Head {of.head} on {sample.size.sequences} {sample.unit}"
    figure = _figure(found, of.prompt, title)
    said = text_words.far(str(of.head), found, sample.size.sequences, sample.unit)
    with place.container():
        parts.chart(figure, f"Attention by distance. {said}", key="head:distances")
    best = found.top[0]
    texts = sample.text_batch()
    labels = tuple(token_labels(model, texts.tokens[best.document, [best.query, best.key]]))
    notices = (
        said,
        text_words.looks(str(of.head), found, labels),
        text_words.tokens(model, found, sample),
        text_words.compared(of.quantities, of.prompt is not None),
        text_words.selective(of.selective),
    )
    explanation = Explanation(
        tuple(filter(None, notices)),
        text_words.MISREADING,
        measured=(("Sample", text_words.sample_words(sample, found.shares.note, view["seed"])),),
        formula=text_words.FORMULA,
        where=text_words.WHERE,
    )
    explain(view, model, explanation)
    numbers = table(of.quantities)
    columns = {name: st.column_config.NumberColumn(help=help, format="%.3f") for name, help in COLUMNS.items()}
    columns["95% interval"] = st.column_config.TextColumn(help="Over the documents; from 16 on.")
    parts.table(numbers, f"{len(numbers)} numbers of head {of.head} on the text, the prompt, random tokens", columns)
    _draw_looks(case, of)
    _draw_tokens(case, of)
    rows = everything(model, of)
    name = f"head-{of.head.layer}-{of.head.head}-on-text"
    export(view, Export(name, figure, rows, payload_of(of), code(case, of), reads_prompt=False))


def table(rows: list[Quantity]) -> pd.DataFrame:
    """The numbers as they are drawn."""
    return pd.DataFrame({
        "number": [one.name for one in rows],
        "on the text": [one.value for one in rows],
        "95% interval": ["none" if one.low is None else f"{written(one.low)} … {written(one.high)}" for one in rows],
        "alike": [one.even for one in rows],
        "your prompt": [one.prompt for one in rows],
        "random tokens": [one.random for one in rows],
        "verdict on the text": [one.verdict or "no test" for one in rows],
        "unit": [one.unit for one in rows],
    })  # fmt: skip


def _draw_looks(case: Case, of: OnText) -> None:
    kind = segmented(case.view, "looks", tuple(LOOKS), "Looks", LOOKS_HELP, format_func=LOOKS.get)
    if kind == "top":
        st.html(looks_html(case.model, of.sample, of.found.top))
        return
    for place, tenth in reversed(list(enumerate(of.found.tenths, 1))):
        low, high = of.found.edges[place - 1 : place + 1]
        name = {1: " (lowest)", 10: " (highest)"}.get(place, "")
        st.markdown(f"**Tenth {place}{name}**, {written(float(low))} … {written(float(high))}")
        st.html(looks_html(case.model, of.sample, tenth, legend=place == len(of.found.tenths)))


def _draw_tokens(case: Case, of: OnText) -> None:
    lists = {"Looks most from": of.found.from_tokens, "Looks most at": of.found.to_tokens}
    for column, (title, lifts) in zip(st.columns(2, gap="large"), lists.items()):
        with column:
            st.markdown(f"**{title}**", help=text_words.LIFT)
            if lifts:
                parts.table(lift_table(case, lifts[:TOKENS]), f"{title}: tokens by lift")
            else:
                st.caption("No token occurs often enough, or all attention rests on the first token.")


def lift_table(case: Case, lifts: list[TokenLift]) -> pd.DataFrame:
    """Tokens with their lift and how often they occur."""
    labels = token_labels(case.model, [one.id for one in lifts])
    return pd.DataFrame({"token": labels, "lift": [round(one.lift, 2) for one in lifts], "n": [one.n for one in lifts]})


def everything(model: HookedTransformer, of: OnText) -> pd.DataFrame:
    """One row per number: shares by distance, instruments, looks and tokens."""
    rows: list[tuple] = [("share", *row[:6], None) for row in shares(of.found, of.prompt)]
    rows += [("number", q.name, q.value, q.low, q.high, q.even, q.prompt, None) for q in of.quantities]
    looks = [("look", look) for look in of.found.top]
    looks += [(f"look of tenth {place}", look) for place, tenth in enumerate(of.found.tenths, 1) for look in tenth]
    rows += [(kind, place_words(look, of.sample.unit), look.value, *[None] * 5) for kind, look in looks]
    for kind, lifts in (("lift of query", of.found.from_tokens), ("lift of key", of.found.to_tokens)):
        labels = token_labels(model, [one.id for one in lifts])
        rows += [(kind, label, one.lift, *[None] * 4, one.n) for label, one in zip(labels, lifts)]
    return pd.DataFrame(rows, columns=["kind", "of", "value", "low", "high", "alike", "prompt", "n"])


def payload_of(of: OnText) -> dict[str, object]:
    """Everything by its name, for JSON."""
    found = of.found
    return {
        "head": of.head,
        "sample": of.sample.source,
        "numbers": [one._asdict() for one in of.quantities],
        "selectivity": {name: one._asdict() for name, one in of.selective.items()},
        "shares": [one._asdict() for one in shares(found, of.prompt)],
        "intervals": found.shares.note,
        "queries": found.n_queries,
        "looks": [look._asdict() for look in found.top],
        "tenths": {"edges": found.edges, "looks": [[look._asdict() for look in tenth] for tenth in found.tenths]},
        "query tokens": [one._asdict() for one in found.from_tokens],
        "key tokens": [one._asdict() for one in found.to_tokens],
    }


def code(case: Case, of: OnText) -> str:
    """The Python that reads the text again."""
    layer, head = of.head
    return (
        "from lens.analysis.corpus.head import head_on_text, scores_on_text\n"
        "from lens.analysis.corpus.reading import corpus, of_head\n"
        f"from lens.analysis.names import Head\n{text_sample.code(case.view, of.sample)}"
        "read = corpus(model, sample)\n"
        f"of, seed = of_head(read, Head({layer}, {head})), {case.view['seed']}\n"
        "one = head_on_text(of, sample.independent, seed, sample.documents)\n"
        "for where, share in zip(['first token', *one.bins], one.shares.mean):\n"
        '    print("back", where, f"{share:.5f}")\n'
        "for look in one.top:\n"
        '    print("look", look.document, look.query, look.key, f"{look.value:.5f}")\n'
        "for token in one.to_tokens[:8]:\n"
        '    print("looks at", token.id, f"{token.lift:.4f}")\n'
        "for name, score in scores_on_text(read.readings, sample).scores.items():\n"
        f'    print(name, f"{{score.score.mean[{layer}, {head}]:.5f}}")\n'
    )
