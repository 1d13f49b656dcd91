"""Head scores on a sample or a text, as Head scores and Home draw and export them. Imports no torch."""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from lens.ui import parts
from lens.ui.export import Export, export
from lens.ui.shared import heads, repeats
from lens.ui.shared import score_words as scores

if TYPE_CHECKING:
    import plotly.graph_objects as go
    from streamlit.delta_generator import DeltaGenerator

    from lens.analysis.score_results import HeadScores
    from lens.ui.view import ViewState

GRID_WIDTH = 540  # pixels of the grid's column on the smallest screen


class Board(NamedTuple):
    """What the page shows: the scores of all heads, and the sequences they were computed on."""

    scores: "HeadScores"
    tokens: np.ndarray  # [sequence, pos]
    control: np.ndarray | None
    sample: repeats.Sample | None  # None for the prompt


def fill(place: "DeltaGenerator", values: np.ndarray, done: int) -> None:
    """The induction scores of the sequences that are read so far: the first chart a visitor sees."""
    from lens.figures.fitted import small_grid
    from lens.figures.grid import grid
    from lens.figures.measure import Measure

    words = f"{done} sequences so far; the threshold comes with the last."
    figure = grid(Measure("induction", words, values, "probability"), title="Induction: filling")
    with place:
        parts.chart(small_grid(figure, GRID_WIDTH), f"Induction scores of {words}")


def take_away(view: "ViewState", board: Board, name: str, figure: "go.Figure") -> None:
    """The export panel for the score that is shown."""
    score = board.scores[name]
    payload = {
        "score": score.kind._asdict(),
        "source": board.scores.source,
        "n": None if board.sample is None else board.sample.settings.n,
        "sequences": score.score.n,
        "seed": board.scores.seed,
        "threshold": score.threshold,
        "uniform": score.uniform,
        "interval": score.score.note,
        "heads": scores.table(score).to_dict(orient="list"),
        "tokens": board.tokens,
        "control": board.control,
    }
    text = board.sample is None
    made = Export(f"head-scores-{name}", figure, scores.table(score), payload, code(board, name), reads_prompt=text)
    export(view, made)


def code(board: Board, name: str) -> str:
    """The Python that computes the strongest head's score again."""
    layer, head = heads.strongest(board.scores[name].score.mean)
    last = f'print(scores["{name}"].score.mean[{layer}, {head}], scores["{name}"].threshold)'
    if board.sample is None:
        return (
            "import torch\n\nfrom lens.analysis.text_scores import text_scores\n\n"
            f"tokens = tokens[:, :{board.tokens.shape[1]}]\n"
            f"scores = text_scores(model, tokens, torch.ones_like(tokens, dtype=torch.bool))\n{last}"
        )
    n, seqs, seed, bos = board.sample.settings
    return (
        "from lens.analysis.head_scores import head_scores\n"
        "from lens.analysis.random_tokens import repeated_tokens\n\n"
        f"repeated = repeated_tokens(model, n={n}, n_seqs={seqs}, seed={seed}, prepend_bos={bos})\n"
        f"scores = head_scores(model, repeated)\n{last}"
    )
