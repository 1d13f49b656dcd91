"""Head scores on a sample, as Head scores, Home and others draw, tabulate and export them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from lens.analysis.score_summary import ranks, strongest
from lens.figures.fitted import small_grid
from lens.figures.grid import grid
from lens.figures.measure import Measure
from lens.ui import parts
from lens.ui.export import Export, export
from lens.ui.shared import repeats
from lens.ui.shared import score_words as words

if TYPE_CHECKING:
    import plotly.graph_objects as go
    from streamlit.delta_generator import DeltaGenerator

    from lens.analysis.instruments.instrument import SampleName
    from lens.analysis.interventions import Metric, Pairs
    from lens.analysis.score_results import HeadScore, HeadScores
    from lens.ui.view import ViewState

GRID_WIDTH = 540  # pixels of the grid's column on the smallest screen


class Python(NamedTuple):
    """How a sample is made again: import lines, and the list of samples as an expression."""

    imports: str
    samples: str


class Board(NamedTuple):
    """What the page shows: the scores of all heads, and what they were measured on."""

    scores: "HeadScores"
    on: "SampleName"
    python: Python
    tokens: np.ndarray | None = None  # [sequence, pos]; None where no sequence is read, or each pair has two
    control: np.ndarray | None = None
    mask: np.ndarray | None = None  # False at pads; None: there are none
    sample: repeats.Sample | None = None  # of repeats whose patterns were read


def on_repeats(sample: repeats.Sample) -> Board:
    """All instruments of patterns on repeated random tokens."""
    repeated = sample.repeated
    return Board(
        sample.scores, "repeats", repeats_python(sample.settings), repeated.tokens, repeated.control, None, sample
    )


def repeats_python(chosen: repeats.Settings) -> Python:
    """The Python of a sample of repeats."""
    imports = (
        "from lens.analysis.instruments.sample import repeats\n"
        "from lens.analysis.random_tokens import repeated_tokens\n"
    )
    return Python(imports, f"[repeats({repeats.code(chosen)})]")


def task_python(pairs: "Pairs", metric: "Metric") -> Python:
    """The Python of a task, its pairs written out."""
    imports = (
        "from lens.analysis.instruments.sample import task_sample\n"
        "from lens.analysis.interventions import Metric, Pairs\n"
        "from lens.analysis.interventions.tasks import Task\n"
    )
    return Python(imports, f'[task_sample(Task("task", {pairs!r}, (), "these pairs", (), {metric!r}))]')


def measure(score: "HeadScore", difference: bool = False) -> Measure:
    """A score as a figure draws it: with its control, or minus its control where there is one."""
    difference = difference and score.effect is not None
    name, estimate = words.title(score).lower(), score.effect if difference else score.score
    minus, by_rule = f" This minus {score.kind.null}.", score.threshold is None and score.above is not None
    return Measure(
        f"{name} − control" if difference else name,
        score.kind.definition + (minus if difference else ""),
        estimate.mean,
        score.kind.unit,
        estimate.low,
        estimate.high,
        None if difference else score.null_mean,
        score.threshold,
        signed=difference or score.kind.scale != "positive",
        within=~np.asarray(score.above) & ~np.isnan(estimate.mean) if by_rule else None,
        ends=difference or score.kind.scale != "signed",
        absent="not applicable",
    )


def table(score: "HeadScore") -> pd.DataFrame:
    """One row per head, the one that stands out most first, those without a number last."""
    mean, placed = np.asarray(score.score.mean), ranks(score).ravel()
    layers, heads = (index.ravel() for index in np.indices(mean.shape))
    columns: dict[str, Sequence | np.ndarray] = {
        "head": [f"{layer}.{head}" for layer, head in zip(layers, heads)],
        "layer": layers,
        "index": heads,
        "score": mean.ravel(),
    }
    if score.score.low is not None:
        columns |= {"CI low": np.ravel(score.score.low), "CI high": np.ravel(score.score.high)}
    if score.effect is not None:
        columns |= {"control": np.ravel(score.null_mean), "difference": np.ravel(score.effect.mean)}
    elif score.null_mean is not None:
        columns |= {"null": np.ravel(score.null_mean)}
    if words.has_verdict(score):
        columns |= {"above chance" if score.threshold is None else "above threshold": np.ravel(score.above)}
    columns |= {"rank": placed if placed.all() else np.where(placed > 0, placed, np.nan)}
    return pd.DataFrame(columns).sort_values("rank", kind="stable", ignore_index=True)


def fill(place: "DeltaGenerator", values: np.ndarray, done: int) -> None:
    """The induction scores of the sequences that are read so far: the first chart a visitor sees."""
    progress = f"{done} sequences so far; the threshold comes with the last."
    figure = grid(Measure("induction", progress, values, "probability"), title="Induction: filling")
    with place:
        parts.chart(small_grid(figure, GRID_WIDTH), f"Induction scores of {progress}")


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
        "rule": score.rule,
        "uniform": score.uniform,
        "interval": score.score.note,
        "heads": table(score).to_dict(orient="list"),
        "tokens": board.tokens,
        "control": board.control,
    }
    rows, python = table(score), code(board, name)
    export(view, Export(f"head-scores-{name}", figure, rows, payload, python, reads_prompt=board.on == "text"))


def code(board: Board, name: str) -> str:
    """The Python that measures the head that stands out most again."""
    layer, head = strongest(board.scores[name])
    return (
        "from lens.analysis.instruments.measure import measure\n"
        "from lens.analysis.instruments.registry import instrument\n"
        f"{board.python.imports}\n"
        f"samples = {board.python.samples}\n"
        f'scores = measure(model, [instrument("{name}")], samples)\n'
        f'print(scores["{name}"].score.mean[{layer}, {head}], scores["{name}"].threshold)'
    )
