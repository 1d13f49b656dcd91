"""The scorecard in words and as HTML: no Streamlit, no torch."""

import html
from collections import Counter
from collections.abc import Mapping, Sequence

import pandas as pd

from lens.analysis.selftest.instrument import Instrument
from lens.analysis.selftest.result import FOUND, INSIDE, REJECTED, VERDICTS, Row
from lens.figures.theme import number
from lens.planted.plants import PLANTS, Plant

KIND = {FOUND: "found", REJECTED: "rejected", INSIDE: "inside"}
DECOY = "planted-decoy"
MISREADING = (
    "Passing here does not make an instrument right about your model. The plants are tiny, built from one-hot parts "
    "and do one thing each; a trained model mixes many, and what none of the plants does is not tested. A red row "
    "proves a fault; a green one only that these traps did not catch it."
)
CAPTION = (
    "Verdict and reading of every instrument on every planted model; “by hand” is what the weights imply. "
    + "; ".join(f"{verdict}: {meaning}" for verdict, meaning in VERDICTS.items())
    + "."
)


def short(name: str) -> str:
    """ "planted-offset" as the head of a column."""
    return name.removeprefix("planted-")


def scorecard(rows: Sequence[Row], instruments: Sequence[Instrument], chosen: tuple[str, str] | None = None) -> str:
    """All rows as one table, instruments down and planted models across; what is not computed yet says so."""
    known = {(row.instrument, row.model): row for row in rows}
    heads = "".join(f'<th scope="col">{short(plant.name)}</th>' for plant in PLANTS)
    lines = []
    for instrument in instruments:
        cells = "".join(_cell(known.get((instrument.name, plant.name)), chosen) for plant in PLANTS)
        title = f"{html.escape(instrument.title)}<small>{html.escape(instrument.unit)}</small>"
        lines.append(f'<tr><th scope="row">{title}</th>{cells}</tr>')
    return (
        f'<div class="lens-card"><table><caption>{html.escape(CAPTION)}</caption>'
        f'<thead><tr><th scope="col">instrument</th>{heads}</tr></thead><tbody>{"".join(lines)}</tbody></table></div>'
    )


def _cell(row: Row | None, chosen: tuple[str, str] | None) -> str:
    if row is None:
        return '<td class="missing"><span>not computed yet</span></td>'
    marks = [KIND[row.verdict], *(["red"] if not row.ok else [])]
    marks += ["chosen"] if (row.instrument, row.model) == chosen else []
    verdict = html.escape(row.verdict if row.ok else f"WRONG: {row.verdict}")
    by_hand = "" if row.closed_form is None else f", by hand {tidy(row.closed_form)}"
    tip, value = html.escape(sentence(row), quote=True), tidy(row.reading.value)
    return f'<td class="{" ".join(marks)}" title="{tip}"><b>{verdict}</b><span>{value}{by_hand}</span></td>'


def tidy(value: float) -> str:
    """A number as figures show it; what is zero but for rounding is 0."""
    return number(value) if abs(value) >= 5e-4 else "0"


def sentence(row: Row) -> str:
    """One row in words, from its numbers."""
    reading = row.reading
    interval = "" if reading.low is None else f" (95% interval {tidy(reading.low)} to {tidy(reading.high)})"
    text = f"{reading.where}: {tidy(reading.value)}{interval}; without its control {tidy(reading.naive)}, "
    text += f"on the control {tidy(reading.control)}, by chance up to {tidy(reading.threshold)}"
    text += "" if row.closed_form is None else f"; by hand {tidy(row.closed_form)}"
    text += f"; {reading.n} {reading.unit}, seed {row.seed}"
    text += f"; {reading.note}" if reading.note else ""
    return f"{text}." if row.ok else f"{text}. WRONG: {row.problem}."


def notice(rows: Sequence[Row], titles: Mapping[str, str]) -> str:
    """What the scorecard says as a whole, and whom the control saved from which plant."""
    red = [row for row in rows if not row.ok]
    counts = Counter(row.verdict for row in rows)
    verdicts = ", ".join(f"{counts[verdict]} {verdict}" for verdict in VERDICTS)
    text = f"{len(rows) - len(red)} of {len(rows)} readings are as planted: {verdicts}."
    if red:
        return text + " WRONG: " + "; ".join(f"{titles[row.instrument]} on {row.model}: {row.problem}" for row in red)
    saved = [row for row in rows if row.verdict == REJECTED and row.reading.naive > 0]
    if saved:
        row = max(saved, key=lambda row: row.instrument == "induction")
        text += (
            f" Without a control {len(saved)} of them would be believed, such as the {titles[row.instrument].lower()} "
            f"of {row.model}: {tidy(row.reading.naive)}, and {tidy(row.reading.control)} where nothing repeats."
        )
    return text


def decoy(rows: Sequence[Row], titles: Mapping[str, str]) -> str:
    """What happened to the head that looks like induction and does nothing, in one sentence; "" before it is read."""
    here = [row for row in rows if row.model == DECOY]
    if not here:
        return ""
    found = [titles[row.instrument].lower() for row in here if row.verdict == FOUND]
    others = [titles[row.instrument].lower() for row in here if row.verdict != FOUND]
    fooled = [titles[row.instrument] for row in here if not row.ok]
    ending = f"; WRONG about it: {', '.join(fooled)}" if fooled else ": it is not taken for induction"
    return (
        f"{DECOY} looks like an induction head, which {len(found)} of {len(here)} instruments find, for it is there "
        f"({', '.join(found) or 'none'}), and does nothing with what it sees, which the other {len(others)} show, for "
        f"they find nothing ({', '.join(others) or 'none'}){ending}."
    )


def numbers(rows: Sequence[Row], titles: Mapping[str, str]) -> pd.DataFrame:
    """One line per reading."""
    return pd.DataFrame(
        {
            "instrument": titles[row.instrument],
            "model": row.model,
            "verdict": row.verdict,
            "expected": row.expected,
            "as planted": row.ok,
            "value": row.reading.value,
            "CI low": row.reading.low,
            "CI high": row.reading.high,
            "by hand": row.closed_form,
            "without control": row.reading.naive,
            "control": row.reading.control,
            "chance": row.reading.threshold,
            "where": row.reading.where,
            "n": row.reading.n,
            "of": row.reading.unit,
            "seed": row.seed,
        }
        for row in rows
    )


def instruments_table(known: Sequence[Instrument]) -> str:
    """Definition, null, source and weakness of every instrument, as HTML that wraps its lines."""
    same = {name: name for name in ("unit", "definition", "null", "source")}
    columns = {"title": "instrument", **same, "fooled_by": "what would fool it"}
    heads = "".join(f'<th scope="col">{heading}</th>' for heading in columns.values())
    rows = ("".join(f"<td>{html.escape(getattr(of, name))}</td>" for name in columns) for of in known)
    lines = "".join(f"<tr>{cells}</tr>" for cells in rows)
    return f'<div class="lens-words"><table><thead><tr>{heads}</tr></thead><tbody>{lines}</tbody></table></div>'


def plant_card(plant: Plant) -> str:
    """What was planted, and its closed forms."""
    facts = "".join(f"<li>{html.escape(fact)}</li>" for fact in plant.facts)
    return (
        f'<div class="lens-plant"><h3>{html.escape(plant.name)}</h3><p>{html.escape(plant.what)}</p>'
        f"<ul>{facts}</ul></div>"
    )
