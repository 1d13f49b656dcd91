"""Scores of all heads on repeated random tokens, read a few sequences at a time, as Home and Head scores show them."""

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from lens.ui.calls import analyse
from lens.ui.ending import end_page
from lens.ui.estimate import forward_seconds
from lens.ui.limits import limits
from lens.ui.models import prepend_bos
from lens.ui.shared.computing import Cells
from lens.ui.store import to_torch
from lens.ui.view import ViewState

if TYPE_CHECKING:
    from lens.analysis.random_tokens import RepeatedTokens
    from lens.analysis.score_results import HeadScores
    from lens.hooked import HookedTransformer

AT_ONCE = 4  # sequences, with their controls: about a second of work, so that the figure fills and Cancel answers
TOKENS = 2048  # at most, in one part


class Settings(NamedTuple):
    """Which random sequences: the view's numbers, made to fit the model."""

    n: int
    seqs: int
    seed: int
    bos: bool


class Sample(NamedTuple):
    """Sequences and the scores of all heads on them; arrays are numpy."""

    repeated: "RepeatedTokens"
    scores: "HeadScores"  # all instruments of patterns
    settings: Settings  # with the number of sequences that were read
    requested: int  # sequences that were asked for: more, after a cancel


def settings(view: ViewState, model: "HookedTransformer") -> Settings:
    """The view's n, sequences, seed and BOS switch; what the model cannot do is moved, with a note."""
    chosen = prepend_bos(view)
    if chosen and model.bos.id is None:
        view.note(f"{model.name} has no BOS: none is put in front")
    bos = model.bos.id is not None and (model.bos.prepend if chosen is None else chosen)
    n = view.within("n", *block_bounds(model, bos))
    return Settings(int(n), int(view.within("seqs", 1, limits().sequences)), view["seed"], bos)


def block_bounds(model: "HookedTransformer", bos: bool) -> tuple[int, int]:
    """Smallest and largest n of [BOS] r₁…r_n r₁…r_n for this model and this visitor."""
    return 2, max(2, min(limits().block_length, (model.cfg.n_ctx - bos) // 2))


def parts(chosen: Settings) -> list[tuple[int, int]]:
    """(first, last + 1) of the sequences that are read together; more sequences only add parts."""
    size = max(1, min(AT_ONCE, TOKENS // (2 * chosen.n + 1)))
    return [(start, min(start + size, chosen.seqs)) for start in range(0, chosen.seqs, size)]


def tokens(model: "HookedTransformer", chosen: Settings) -> "RepeatedTokens":
    """The sequences with their controls."""
    from lens.analysis.random_tokens import repeated_tokens

    return analyse(repeated_tokens, model, chosen.n, chosen.seqs, chosen.seed, chosen.bos)


def code(chosen: Settings) -> str:
    """The Python that draws the same sequences."""
    n, seqs, seed, bos = chosen
    return f"repeated_tokens(model, n={n}, n_seqs={seqs}, seed={seed}, prepend_bos={bos})"


def sample(
    model: "HookedTransformer", chosen: Settings, show: Callable[[np.ndarray, int], None] | None = None
) -> Sample:
    """All instruments of patterns on the sequences, in one pass.

    ``show(induction [layer, head], sequences)`` draws what there is meanwhile.
    After a cancel the sample holds the sequences that are done; without any the page ends.
    """
    from lens.analysis.head_scores import join_scores, summarise_scores

    def draw(done: dict) -> None:
        scores = np.concatenate([part.of("induction").score for part in done.values()])
        show(scores.mean(0), len(scores))

    repeated = tokens(model, chosen)
    done = _cells(model, chosen).sweep(None if show is None else draw, seconds(model, chosen)).done
    if not done:
        end_page()
    rows = [row for part in done for row in range(*part)]
    repeated = repeated._replace(tokens=repeated.tokens[rows], control=repeated.control[rows])
    scores = analyse(summarise_scores, join_scores(to_torch(list(done.values()))), to_torch(repeated))
    return Sample(repeated, scores, chosen._replace(seqs=len(rows)), chosen.seqs)


def is_read(model: "HookedTransformer", chosen: Settings) -> bool:
    """Whether all of the sequences have been read before, by anyone."""
    return _cells(model, chosen).are_kept()


def _cells(model: "HookedTransformer", chosen: Settings) -> Cells:
    from lens.analysis.head_scores import repeat_scores_of

    params = {"n": chosen.n, "seed": chosen.seed, "prepend_bos": chosen.bos}
    return Cells(repeat_scores_of, parts(chosen), (model,), params)


def seconds(model: "HookedTransformer", chosen: Settings) -> float:
    """Rough time to read all sequences and their controls up to the last pattern: nothing is unembedded."""
    return forward_seconds(model, 2 * chosen.seqs * (2 * chosen.n + 1), unembed=False)
