"""The eigenvalues of one head beside its null, and what belongs to the numbers of the page."""

import numpy as np
from plotly.graph_objects import Figure

from lens.analysis.circuit_weights import ov_caveats, stream_embedding
from lens.analysis.copying_verdicts import RULE
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
from lens.ui.pages.ov_copying import words
from lens.ui.pages.ov_copying.data import LENGTH
from lens.ui.pages.ov_copying.read import CIRCUITS, NULLS, Copying, Shown
from lens.ui.shared import repeats
from lens.ui.shared.copying_words import DEFINITIONS, FORMULA, WHERE, Null
from lens.ui.store import to_torch
from lens.ui.view import ViewState

DRAWN = 50  # draws that are drawn
WIDTH = 390  # pixels of the figure's column on the smallest screen
DRAWS = {
    "head": "random rotations between values and output",
    "model": "random rotations of the stream after the head",
    "gaussian": "heads of Gaussian weights, brought to the same mean size; for teaching, no null",
}


def show_eigenvalues(view: ViewState, model: HookedTransformer, copying: Copying, head: Head) -> None:
    """The scatter of one head in the complex plane, the draws of its null in grey."""
    core, own = getattr(copying.cores, copying.circuit)[head], copying.shown.eigenvalues[head]
    if view["null"] == "model" and copying.circuit == "residual":
        view.note("the rotation of the stream is offered for the full circuit only: showing the one in the head")
        view.set(null=None)
    null = view["null"]
    if null == "head":
        draws = analyse(null_eigenvalues, to_torch(core), DRAWN, view["seed"])
    elif null == "gaussian":
        draws = _gaussian(view, model, copying, head)[:DRAWN]
        draws = draws * (np.abs(own).mean() / np.abs(draws).mean())  # only the shape says something
    else:
        draws = analyse(stream_null_eigenvalues, model, head, view["embedding"], 20, view["seed"], progress=True)
    title = f"Head {head}: eigenvalues, {CIRCUITS[copying.circuit].lower()} circuit"
    definition = f"Grey: {len(draws)} {DRAWS[null]}. Right is copying, left the opposite."
    cloud = {"log": view["radius"] == "log", "cloud_name": "Gaussian" if null == "gaussian" else "by chance"}
    figure = eigenvalues(own, draws, title=title, definition=definition, **cloud)
    parts.chart(narrow(figure, WIDTH), f"{title}. {definition}", key="ov:eigenvalues")


def _gaussian(view: ViewState, model: HookedTransformer, copying: Copying, head: Head) -> np.ndarray:
    args = (head.layer, copying.circuit, view["embedding"], view["seed"])
    return analyse(gaussian_eigenvalues, model, *args, progress=True)


def _gaussian_words(view: ViewState, model: HookedTransformer, copying: Copying, null: Null | None, head: Head) -> str:
    """Why the Gaussian reference is none; "" where it is not chosen."""
    if view["null"] != "gaussian":
        return ""
    scores = copying_score(to_torch(_gaussian(view, model, copying, head))).numpy()
    low, high = map(float, np.quantile(scores, [0.025, 0.975]))
    seen = [stream_embedding(layer, view["embedding"]) for layer in range(model.cfg.n_layers)]
    same = np.array([copying.circuit == "residual" or layer == seen[head.layer] for layer in seen])
    return words.gaussian_words(copying.shown, null, low, high, same)


def explanation(
    view: ViewState, model: HookedTransformer, copying: Copying, null: Null | None, head: Head
) -> Explanation:
    """What to notice about all heads; beside it, those that look back at earlier occurrences."""
    scores, score = repeats.sample(model, repeats.settings(view, model)).scores, copying.shown.score
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


def draw_export(view: ViewState, model: HookedTransformer, shown: Shown, figure: Figure) -> None:
    """The export panel: the table with all columns that are computed, and the Python that gives its numbers."""
    copying, null, head, more = shown
    circuit, embedding, seed = copying.shown, view["embedding"], view["seed"]
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
    if top := more.get("top"):
        payload["top k"] = top._asdict()
        code += top_to_python(embedding, top.n, seed, top.k)
    if text := more.get("text"):
        payload["text"] = {"source": text.scores.source, "sign": text.side.sign, "differ": text.differ}
        n, bos = text.scores["text_share"].effect.n, repeats.settings(view, model).bos
        code += copying_on_text_to_python(n, bos, LENGTH)
    table = words.table(copying.scores, null, copying.circuit, **more)
    export(view, Export(f"ov-copying-{copying.circuit}", figure, table, payload, code, reads_prompt=False))
