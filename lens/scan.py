"""``python -m lens scan MODEL``: where to look first, as sentences, and as a page or a file that stands for itself."""

import argparse
import json
import sys
from html import escape
from importlib.metadata import version
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

from lens.analysis.instruments.registry import instrument
from lens.progress import printed

if TYPE_CHECKING:
    from lens.analysis.scan import Finding, Habit, Scan

DESCRIPTION = "Pick heads on one sample of random tokens that repeat, judge them on another, and say what is found."
KINDS = (".html", ".json")
TEXT = (
    "a text file: whether the habits show on it is said besides, with intervals and verdicts from 16 documents on (a "
    "line of three dashes begins another; pieces of one are not independent)"
)
METHOD = (
    "Sample A picks every head whose attention has a habit beyond what chance gives the best of all heads (each test "
    "picks some head in at most 5% of cases where there is nothing). Sample B, other random tokens, judges. Found: the "
    "habit is beyond chance there too, and without the head (resample ablation) the loss of the repeat changes beyond "
    "what chance gives. Rejected: no habit is left, or the head is not needed. Inconclusive: the sample cannot tell. "
    "All other instruments are evidence beside that, each against its own null, and never a finding by themselves."
)
STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:60rem;padding:0 1rem;color:#1a2330;"
    "background:#fff}pre{background:#f2f4f7;padding:1rem;overflow-x:auto}.found{font-weight:600}"
)


def main(arguments: list[str] | None = None) -> int:
    """Print what is found; 2 with a sentence for what cannot be scanned."""
    parser = _parser()
    chosen = parser.parse_args(arguments)
    if chosen.out is not None and chosen.out.suffix not in KINDS:
        parser.error(f"--out {chosen.out}: the name must end in {' or '.join(KINDS)}")
    import torch  # after the arguments are known to be right: it takes seconds

    from lens.analysis.corpus.own_text import own_text
    from lens.analysis.scan import SECOND, scan
    from lens.hooked import HookedTransformer

    start = perf_counter()
    try:
        model = HookedTransformer.from_pretrained(chosen.model)
        with torch.no_grad():
            seeds = (chosen.seed, chosen.seed + SECOND)
            text = None if chosen.text is None else own_text(model, _read(chosen.text))
            result = scan(model, seeds, chosen.n, chosen.seqs, chosen.budget, printed, text)
    except (ValueError, KeyError, OSError) as error:
        parser.error(str(error) if isinstance(error, OSError) else str(error.args[0]))
    print(file=sys.stderr)  # noqa: T201 - ends the line of the progress
    print("\n".join(sentences(result, model.name)))  # noqa: T201 - a command line
    print(f"{perf_counter() - start:.0f} s.")  # noqa: T201
    if chosen.out is not None:
        write = report if chosen.out.suffix == ".html" else as_json
        chosen.out.write_text(write(result, model.name, chosen.model, chosen.text), "utf-8")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m lens scan", description=DESCRIPTION)
    parser.add_argument("model", help="an alias, a Hub id on this disk, or a folder")
    parser.add_argument("--budget", type=_seconds, default="150s", help="no instrument is begun later (default: 150s)")
    parser.add_argument("--text", type=Path, help=TEXT)
    parser.add_argument("--out", type=Path, help=f"a file that ends in {' or '.join(KINDS)}")
    parser.add_argument("--n", type=int, default=25, help="random tokens before they repeat (default: %(default)s)")
    parser.add_argument("--seqs", type=int, default=16, help="random sequences of each sample (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of sample A; B has one far from it (default: %(default)s)")
    return parser


def _read(path: Path) -> str:
    """The text of a file; ValueError for one that is not in UTF-8."""
    try:
        return path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"--text {path}: this is no text in UTF-8; convert it.") from error


def _seconds(text: str) -> float:
    """``60s`` or ``60``: seconds."""
    return float(text.removesuffix("s"))


def sentences(result: "Scan", model: str) -> list[str]:
    """What is found, first what both samples say; with how many heads were tried."""
    tests = "; ".join(instrument(name).title for name in result.tests) or "none"
    counts = {
        name: sum(one.verdict == name for one in result.findings) for name in ("found", "rejected", "inconclusive")
    }
    lines = [
        f"{model}: {result.tried} heads tried in {len(result.tests)} tests ({tests}); "
        f"{len(result.findings)} picked on sample A (seed {result.seeds[0]}); on sample B (seed {result.seeds[1]}) "
        f"{counts['found']} found, {counts['rejected']} rejected, {counts['inconclusive']} inconclusive."
    ]
    if result.on_text is not None:
        lines.append(f"Whether the habits show on a text is measured on {result.on_text.source}; it judges nothing.")
    lines += [finding(one, result) for one in result.findings]
    if result.unexplained:
        heads = ", ".join(map(str, result.unexplained))
        lines.append(f"Needed on both samples, with none of these habits: {heads}.")
    if result.evidence.missing:
        lines += [f"{instrument(name).title}: {why}." for name, why in result.evidence.missing.items()]
    return lines


def finding(one: "Finding", result: "Scan") -> str:
    """One head in a sentence."""
    habits = "; ".join(_habit(habit) for habit in one.habits)
    need = "its need was not measured"
    if one.need is not None:
        unit = result.samples[1]["ablation_resample"].kind.unit
        word = {"found": "needed", "rejected": "not needed", "inconclusive": "whether it is needed cannot be told"}
        need = f"{word[one.matters]} ({_value(one.need.value, one.need.low, one.need.high)} {unit} without it)"
    said = "; ".join(instrument(name).title for name in one.evidence)
    beside = f" Beside that beyond chance: {said}." if said else " No other instrument is beyond chance."
    return f"{one.head} {one.verdict.upper()}: {habits}; {need}.{beside}{_shows(one, result)}"


def _shows(one: "Finding", result: "Scan") -> str:
    """The habits of a head on the text, with a leading space; "" without a text."""
    if result.on_text is None:
        return ""
    said = "; ".join(_shows_habit(habit) for habit in one.habits)
    return f" On the text: {said}."


def _shows_habit(habit: "Habit") -> str:
    title, facts = instrument(habit.instrument).title, habit.on_text
    if facts is None:
        return f"{title} not computed"
    chance = {True: "beyond chance", False: "within chance", None: "no verdict"}[facts.above]
    return f"{title} {_value(facts.value, facts.low, facts.high)}, {chance}"


def _habit(habit: "Habit") -> str:
    again = _value(habit.again.value, habit.again.low, habit.again.high)
    return f"{instrument(habit.instrument).title} {habit.picked.value:.3f}, on sample B {again}, {habit.verdict}"


def _value(value: float, low: float | None, high: float | None) -> str:
    return f"{value:.3f}" if low is None or high is None else f"{value:.3f} [{low:.3f}, {high:.3f}]"


def facts(result: "Scan", model: str, opened: str, text: Path | None = None) -> dict[str, Any]:
    """Everything that the report says, as plain values."""
    first = result.samples[0]
    return {
        "model": model,
        "sequences": next(iter(first.scores.values())).score.n,
        "n": result.n,
        "seeds": list(result.seeds),
        "heads tried": result.tried,
        "tests": list(result.tests),
        "tests that pick a head by chance": result.by_chance,
        "method": METHOD,
        "sample": first.source,
        "findings": [_plain(one) for one in result.findings],
        "needed without a habit": [str(head) for head in result.unexplained],
        "not computed": dict(result.evidence.missing),
        "versions": {name: version(name) for name in ("torch", "transformers")},
        "text": None if result.on_text is None else result.on_text.source,
        "code": code(result, opened, text),
    }


def _plain(one: "Finding") -> dict[str, Any]:
    habits = [_plain_habit(habit) for habit in one.habits]
    need = None if one.need is None else one.need._asdict()
    return one._asdict() | {"head": str(one.head), "habits": habits, "need": need}


def _plain_habit(habit: "Habit") -> dict[str, Any]:
    on_text = None if habit.on_text is None else habit.on_text._asdict()
    standings = {"picked": habit.picked._asdict(), "again": habit.again._asdict(), "on_text": on_text}
    return habit._asdict() | standings


def code(result: "Scan", opened: str, text: Path | None = None) -> str:
    """The Python that scans again."""
    n_seqs = next(iter(result.samples[0].scores.values())).score.n
    imports = read = given = ""
    if text is not None:
        imports = "from pathlib import Path\n\nfrom lens.analysis.corpus.own_text import own_text\n"
        read, given = f'text = own_text(model, Path({str(text)!r}).read_text("utf-8-sig"))\n', ", text=text"
    return (
        "from lens import HookedTransformer\n"
        f"{imports}from lens.analysis.scan import scan\n\n"
        f"model = HookedTransformer.from_pretrained({opened!r})\n{read}"
        f"result = scan(model, seeds={result.seeds}, n={result.n}, n_seqs={n_seqs}{given})\n"
        "for one in result.findings:\n"
        "    print(one.head, one.verdict, *(f'{habit.again.value:.4f}' for habit in one.habits))\n"
    )


def as_json(result: "Scan", model: str, opened: str, text: Path | None = None) -> str:
    """The report as JSON."""
    return json.dumps(facts(result, model, opened, text), indent=1, ensure_ascii=False)


def report(result: "Scan", model: str, opened: str, text: Path | None = None) -> str:
    """The report as one page of HTML that needs no network: sentences, the figure, methods, code, versions."""
    said = "".join(f"<p class={_class(line)}>{escape(line)}</p>" for line in sentences(result, model))
    made = facts(result, model, opened, text)
    versions = ", ".join(f"{name} {number}" for name, number in made["versions"].items())
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Scan of {escape(model)}</title>'
        f"<style>{STYLE}</style><h1>Scan of {escape(model)}</h1>{said}{_figure(result)}"
        f"<h2>Method</h2><p>{escape(METHOD)}</p><p>{escape(made['sample'])}. Evidence: "
        f"{escape(result.evidence.source)}. {escape(versions)}.</p>"
        f"<h2>Again</h2><pre>{escape(made['code'])}</pre></html>"
    )


def _class(line: str) -> str:
    return "found" if " FOUND: " in line else "said"


def _figure(result: "Scan") -> str:
    """Where the heads that are found stand among all, in every instrument; nothing where none is."""
    if not result.found:
        return ""
    from lens.analysis.head_table import columns_of, profiles_of
    from lens.figures.profiles import profiles
    from lens.figures.theme import standalone

    table = columns_of({**result.samples[1].scores, **result.evidence.scores})
    heads, titles = [one.head for one in result.found], [instrument(name).title for name in table]
    title = "What is found, among all heads (sample B)"
    figure = profiles(heads, *profiles_of(table, heads), titles, title=title)
    return standalone(figure).to_html(full_html=False, include_plotlyjs=True)
