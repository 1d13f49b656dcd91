"""The eigenvalues of one head beside its null, and what belongs to the numbers of the page."""

from typing import NamedTuple

import numpy as np
from plotly.graph_objects import Figure

from lens.analysis.circuit_weights import ov_caveats, stream_embedding
from lens.analysis.copying_verdicts import RULE
from lens.analysis.head_vocabulary import TopShares
from lens.analysis.names import Head
from lens.analysis.ov_copying import copying_score, gaussian_eigenvalues, null_eigenvalues, stream_null_eigenvalues
from lens.analysis.weights_export import copying_on_text_to_python, copying_to_python, top_to_python
from lens.figures.eigenvalues import eigenvalues
from lens.figures.fitted import narrow
from lens.hooked import HookedTransformer
from lens.ui import parts
from lens.ui.calls import analyse
from lens.ui.explanation import Explanation
from lens.ui.export import Export, export
from lens.ui.pages.ov_copying import CIRCUITS, NULLS, words
from lens.ui.pages.ov_copying.data import LENGTH
from lens.ui.pages.ov_copying.grid import Copying
from lens.ui.shared import repeats
from lens.ui.shared.copying_words import DEFINITIONS, FORMULA, WHERE, Null, OnData
from lens.ui.store import to_torch
from lens.ui.view import ViewState

DRAWN = 50  # draws that are drawn
WIDTH = 390  # pixels of the figure's column on the smallest screen
DRAWS = {
    "head": "random rotations between values and output",
    "model": "random rotations of the stream after the head",
    "gaussian": "heads of Gaussian weights, brought to the same mean size; for teaching, no null",
}


class Findings(NamedTuple):
    """All that the page says, for its export."""

    copying: Copying
    null: Null | None  # None where it is not computed
    head: Head
    columns: dict[str, OnData | TopShares]  # "text" and "top", where the table of all heads has them


def null_call(view: ViewState, model: HookedTransformer, copying: Copying, head: Head) -> tuple:
    """What draws the eigenvalues of the chosen null of one head, and its arguments."""
    if view["null"] == "model" and copying.circuit == "residual":
        view.note("the rotation of the stream is offered for the full circuit only: showing the one in the head")
        view.set(null=None)
    if view["null"] == "head":
        return null_eigenvalues, to_torch(getattr(copying.cores, copying.circuit)[head]), DRAWN, view["seed"]
    if view["null"] == "gaussian":
        return gaussian_eigenvalues, model, head.layer, copying.circuit, view["embedding"], view["seed"]
    return stream_null_eigenvalues, model, head, view["embedding"], 20, view["seed"]


def show_eigenvalues(view: ViewState, model: HookedTransformer, copying: Copying, head: Head) -> None:
    """The scatter of one head in the complex plane, the draws of its null in grey."""
    call, own = null_call(view, model, copying, head), copying.chosen.eigenvalues[head]
    null, draws = view["null"], analyse(*call, progress=view["null"] != "head")
    if null == "gaussian":
        draws = draws[:DRAWN] * (np.abs(own).mean() / np.abs(draws[:DRAWN]).mean())  # only the shape says something
    title = f"Head {head}: eigenvalues, {CIRCUITS[copying.circuit].lower()} circuit"
    definition = f"Grey: {len(draws)} {DRAWS[null]}. Right is copying, left the opposite."
    cloud = {"log": view["radius"] == "log", "cloud_name": "Gaussian" if null == "gaussian" else "by chance"}
    figure = eigenvalues(own, draws, title=title, definition=definition, **cloud)
    parts.chart(narrow(figure, WIDTH), f"{title}. {definition}", key="ov:eigenvalues")


def _gaussian_words(view: ViewState, model: HookedTransformer, copying: Copying, null: Null | None, head: Head) -> str:
    """Why the Gaussian reference is none; "" where it is not chosen."""
    if view["null"] != "gaussian":
        return ""
    draws = analyse(*null_call(view, model, copying, head), progress=True)
    scores = copying_score(to_torch(draws)).numpy()
    low, high = map(float, np.quantile(scores, [0.025, 0.975]))
    seen = [stream_embedding(layer, view["embedding"]) for layer in range(model.cfg.n_layers)]
    same = np.array([copying.circuit == "residual" or layer == seen[head.layer] for layer in seen])
    return words.gaussian_words(copying.chosen, null, low, high, same)


def explanation(
    view: ViewState, model: HookedTransformer, copying: Copying, null: Null | None, head: Head
) -> Explanation:
    """What to notice about all heads; beside it, those that look back at earlier occurrences."""
    scores, score = repeats.sample(model, repeats.settings(view, model)).scores, copying.chosen.score
    chance = "" if null is None else words.chance_words(null, view["seed"], RULE)
    return Explanation(
        words.grid_words(score, null),
        words.MISREADING,
        asides=(
            ("Induction heads", words.induction_words(score, null, scores["induction"])),
            ("Gaussian", _gaussian_words(view, model, copying, null, head)),
            *(("This model", sentence) for sentence in ov_caveats(model.cfg)),
        ),
        measured=(
            ("Against chance", chance),
            ("Induction scores", f"{scores.source}."),
            ("Weights", words.FOLDING),
        ),
        formula=FORMULA,
        where=WHERE,
    )


def draw_export(view: ViewState, model: HookedTransformer, findings: Findings, figure: Figure) -> None:
    """The export panel: the table with all columns that are computed, and the Python that gives its numbers."""
    copying, null, head, columns = findings
    circuit, embedding, seed = copying.chosen, view["embedding"], view["seed"]
    payload = {
        "definition": DEFINITIONS[copying.circuit],
        "circuit": copying.circuit,
        "score": circuit.score,
        "positive": circuit.positive,
        "head": head,
        "eigenvalues": [[value.real, value.imag] for value in circuit.eigenvalues[head].tolist()],
        "null": null and null.band._asdict(),
        "verdict": null and {"sign": null.side.sign, "idle": null.side.idle, "rule": RULE},
        "rotation": NULLS["head"],
        "seed": seed,
    }
    band = null and null.band
    code = copying_to_python(head, copying.circuit, embedding, view["weights"] == "folded", seed, band)
    if top := columns.get("top"):
        payload["top k"] = top._asdict()
        code += top_to_python(embedding, top.n, seed, top.k)
    if text := columns.get("text"):
        payload["text"] = {"source": text.scores.source, "sign": text.side.sign, "differ": text.differ}
        n, bos = text.scores["text_share"].effect.n, repeats.settings(view, model).bos
        code += copying_on_text_to_python(n, bos, LENGTH)
    table = words.table(copying.scores, null, copying.circuit, **columns)
    export(view, Export(f"ov-copying-{copying.circuit}", figure, table, payload, code, reads_prompt=False))
