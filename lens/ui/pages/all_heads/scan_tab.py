"""The scan: heads picked on one sample and judged on another, as sentences, a page and a file."""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import streamlit as st

from lens.analysis.instruments.registry import INSTRUMENTS
from lens.analysis.instruments.sample import repeats as repeats_sample
from lens.analysis.random_tokens import repeated_tokens
from lens.analysis.scan import SECOND, judging, scan
from lens.scan import METHOD, as_json, finding, report, sentences
from lens.ui import parts
from lens.ui.calls import analyse, is_kept
from lens.ui.explanation import Explanation, explain
from lens.ui.links import with_links
from lens.ui.models import source_of
from lens.ui.shared import instruments, repeats
from lens.ui.waiting import started

if TYPE_CHECKING:
    from lens.analysis.scan import Scan
    from lens.hooked import HookedTransformer
    from lens.ui.pages.all_heads.table import Heads
    from lens.ui.view import ViewState

BUDGET = 150.0  # seconds after which no further instrument is begun
OFFER = (
    "Picks heads on one sample of random tokens, judges them on another of other tokens, and says of each picked head "
    "whether it is found, rejected, or cannot be told."
)
MISREADING = (
    "Found means: this habit on random tokens that repeat, and a loss that needs the head there. It does not say what "
    "the head does on text, nor that no other head does the same."
)
SAVE = (
    "All of it in one file that needs no network: sentences, the figure, the method, and the Python that scans again."
)


def show_scan(view: "ViewState", model: "HookedTransformer", heads: "Heads") -> None:
    """What a scan of the model says, after a click where it takes long."""
    settings = repeats.settings(view, model)
    seeds = (settings.seed, settings.seed + SECOND)
    work = {"seeds": seeds, "n": settings.n, "n_seqs": settings.seqs, "budget": BUDGET}
    seconds = _seconds(model, settings)
    key = f"scan-{view['model']}-{view['revision']}-{settings}"
    if not started(key, seconds, OFFER, is_kept(scan, model, **work)):
        return
    result = analyse(scan, model, progress=True, **work)
    summary, *rest = sentences(result, model.name)
    samples = (("Method", METHOD), ("Samples", f"{result.samples[0].source}; {result.samples[1].source}."))
    explain(view, model, Explanation(summary, MISREADING, measured=samples))
    if result.findings:
        lines = (with_links(view, model.cfg, f"Head {finding(one, result)}") for one in result.findings)
        st.html(f"<ol>{''.join(f'<li>{line}</li>' for line in lines)}</ol>")
    for line in rest[len(result.findings) :]:
        parts.aside("Beside that", line)
    with st.container(horizontal=True):
        source = source_of(view)
        for kind, mime, made in (("html", "text/html", report), ("json", "application/json", as_json)):
            name = f"scan-{model.name.replace('/', '-')}.{kind}"
            build = partial(_written, made, result, model.name, source)
            st.download_button(f"Report, {kind.upper()}", build, name, mime, f"scan:{kind}", SAVE, on_click="ignore")


def _written(make: Callable[["Scan", str, str], str], *what: Any) -> bytes:
    return make(*what).encode()


def _seconds(model: "HookedTransformer", settings: repeats.Settings) -> float:
    """Rough time of a scan: what judges is measured on both samples, the rest once."""
    samples = [repeats_sample(repeated_tokens(model, settings.n, settings.seqs, settings.seed, settings.bos))]
    twice = judging()
    patterns = next(one for one in twice if one.pattern is not None)
    costs = {one.name: instruments.seconds(model, one, samples) for one in INSTRUMENTS if one.pattern is None}
    often = sum(costs[one.name] for one in twice if one.pattern is None) + instruments.seconds(model, patterns, samples)
    rest = sum(seconds for name, seconds in costs.items() if name not in {one.name for one in twice})
    return 2 * often + min(rest, BUDGET)
