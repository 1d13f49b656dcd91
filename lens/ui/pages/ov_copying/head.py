"""The eigenvalues of one head beside its null, and what belongs to the numbers of the page."""

from typing import Any

import numpy as np
import streamlit as st

from lens.analysis.circuit_weights import ov_caveats, stream_embedding
from lens.analysis.copying_verdicts import RULE
from lens.analysis.names import Head
from lens.analysis.ov_copying import (
    copying_score,
    gaussian_eigenvalues,
    null_eigenvalues,
    stream_null_eigenvalues,
)
from lens.figures.eigenvalues import eigenvalues
from lens.figures.fitted import narrow
from lens.ui import parts
from lens.ui.calls import analyse
from lens.ui.explanation import Explanation
from lens.ui.export import Export, export
from lens.ui.pages.ov_copying import words
from lens.ui.pages.ov_copying.data import LENGTH
from lens.ui.pages.ov_copying.read import CIRCUITS, NULLS, Copying, Shown
from lens.ui.pages.ov_copying.tabs import largest_k
from lens.ui.shared import repeats
from lens.ui.store import to_torch
from lens.ui.view import ViewState

SHOWN = 50  # draws that are drawn
WIDTH = 390  # pixels of the figure's column on the smallest screen


def show_eigenvalues(view: ViewState, model: Any, found: Copying, head: Head) -> None:
    """The scatter of one head in the complex plane, the draws of its null in grey."""
    core, own = getattr(found.cores, found.circuit)[head], found.shown.eigenvalues[head]
    if view["null"] == "model" and found.circuit == "residual":
        view.note("the rotation of the stream is offered for the full circuit only: showing the one in the head")
        view.set(null=None)
    if view["null"] == "head":
        draws = analyse(null_eigenvalues, to_torch(core), SHOWN, view["seed"])
    elif view["null"] == "gaussian":
        draws = _gaussian(view, model, found, head)[:SHOWN]
        draws = draws * (np.abs(own).mean() / np.abs(draws).mean())  # only the shape says something
    else:
        draws = analyse(stream_null_eigenvalues, model, head, view["embedding"], 20, view["seed"], progress=True)
    title = f"Head {head[0]}.{head[1]}: eigenvalues, {CIRCUITS[found.circuit].lower()} circuit"
    where = {
        "head": "random rotations between values and output",
        "model": "random rotations of the stream after the head",
        "gaussian": "heads of Gaussian weights, brought to the same mean size; for teaching, no null",
    }[view["null"]]
    definition = f"Grey: {len(draws)} {where}. Right is copying, left the opposite."
    name = "Gaussian" if view["null"] == "gaussian" else "by chance"
    log = view["radius"] == "log"
    figure = eigenvalues(own, draws, title=title, definition=definition, log=log, cloud_name=name)
    parts.chart(narrow(figure, WIDTH), f"{title}. {definition}", key="ov:eigenvalues")


def _gaussian(view: ViewState, model: Any, found: Copying, head: Head) -> Any:
    args = (head[0], found.circuit, view["embedding"], view["seed"])
    return analyse(gaussian_eigenvalues, model, *args, progress=True)


def gaussian_words(view: ViewState, model: Any, found: Copying, null: Any, head: Head) -> str:
    """Why the Gaussian reference is none; "" where it is not chosen."""
    if view["null"] != "gaussian":
        return ""
    scores = copying_score(to_torch(_gaussian(view, model, found, head))).numpy()
    low, high = (float(end) for end in np.quantile(scores, [0.025, 0.975]))
    seen = [stream_embedding(layer, view["embedding"]) for layer in range(model.cfg.n_layers)]
    same = np.array([found.circuit == "residual" or one == seen[head[0]] for one in seen])
    return words.gaussian_words(found.shown, null, low, high, same)


def show_numbers(found: Copying, null: Any, head: Head) -> None:
    """The score of the head with its null, in words and numbers."""
    st.caption(words.head_words(found.shown, null, head))


def explanation(view: ViewState, model: Any, found: Copying, null: Any, head: Head) -> Explanation:
    """What to notice, first about all heads, then about those that look back at earlier occurrences."""
    sample = repeats.sample(model, repeats.settings(view, model))
    induction = words.induction_words(found.shown.score, null, sample.scores["induction"])
    chance = "" if null is None else words.chance_words(null, view["seed"], RULE)
    return Explanation(
        (words.grid_words(found.shown.score, null), induction),
        words.MISREADING,
        asides=(
            ("Gaussian", gaussian_words(view, model, found, null, head)),
            *(("This model", sentence) for sentence in ov_caveats(model.cfg)),
        ),
        measured=(
            ("Against chance", chance),
            ("Induction scores", f"{sample.scores.source}."),
            ("Weights", words.FOLDING),
        ),
        formula=words.FORMULA,
        where=words.WHERE,
    )


def take_away(view: ViewState, model: Any, shown: Shown, figure: Any) -> None:
    """The export panel: the table with all columns that are computed, and the Python that gives its numbers."""
    found, null, head = shown.found, shown.null, shown.head
    payload = {
        "definition": words.DEFINITIONS[found.circuit],
        "circuit": found.circuit,
        "score": found.shown.score,
        "positive": found.shown.positive,
        "head": head,
        "eigenvalues": [[value.real, value.imag] for value in found.shown.eigenvalues[head].tolist()],
        "null": None if null is None else null.band._asdict(),
        "verdict": None if null is None else {"sign": null.side.sign, "idle": null.side.idle, "rule": RULE},
        "rotation": NULLS["head"],
        "seed": view["seed"],
    }
    if "top" in shown.more:
        payload["top k"] = {"k": min(view["topk"], largest_k(model)), **shown.more["top"]._asdict()}
    if "text" in shown.more:
        text = shown.more["text"]
        payload["text"] = {"source": text.scores.source, "sign": text.side.sign, "differ": text.differ}
    table = words.table(found.scores, null, found.circuit, **shown.more)
    made = Export(f"ov-copying-{found.circuit}", figure, table, payload, code(view, model, shown), reads_prompt=False)
    export(view, made)


def code(view: ViewState, model: Any, shown: Shown) -> str:
    """The Python that computes the score of the head and its null again, and the columns that the table has."""
    (layer, head), circuit = shown.head, shown.found.circuit
    folded = view["weights"] == "folded"
    text = (
        "from lens.analysis.ov_copying import copying_of, null_band, null_scores_of, ov_cores\n\n"
        f"layer, head = {layer}, {head}\n"
        f"cores = ov_cores(model, {view['embedding']!r}, folded={folded})\n"
        f"print(float(copying_of(cores).{circuit}.score[layer, head]))\n"
    )
    if shown.null is not None:
        band, circuits = shown.null.band, f"cores.{circuit}, copying_of(cores).{circuit}"
        text += (
            f"own = null_scores_of((0, {band.n_of(shown.head)}), cores.{circuit}, {view['seed']}, [(layer, head)])\n"
            "band = null_band(own)\n"
            "print(float(band.low[layer, head]), float(band.high[layer, head]))\n"
        )
        if band.n < band.most:  # of all heads, fewer rotations
            text += (
                "\nfrom lens.analysis.sequential_null import sequential_null\n\n"
                f"print(null_band(sequential_null({circuits}, {view['seed']})).reach)\n"
            )
    if "top" in shown.more:
        text += (
            "\nfrom lens.analysis.head_vocabulary import copying_accuracy, own_ranks_of\n\n"
            f"ranks = own_ranks_of(layer, model, {view['embedding']!r}, {shown.more['top'].n}, {view['seed']})\n"
            f"print(float(copying_accuracy(ranks, {min(view['topk'], largest_k(model))}).share[head]))\n"
        )
    if "text" in shown.more:
        effect = shown.more["text"].scores["text_share"].effect
        text += (
            "\nfrom lens.analysis.copying_on_text import copying_on_text\n"
            "from lens.analysis.held_out import beginnings\n\n"
            f"batch = beginnings(model, {effect.n}, {repeats.settings(view, model).bos}, {LENGTH})\n"
            "on_text = copying_on_text(model, batch.tokens, batch.mask)\n"
            'print(float(on_text["text_share"].effect.mean[layer, head]))\n'
        )
    return text
