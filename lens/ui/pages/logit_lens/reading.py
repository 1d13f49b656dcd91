"""What the Logit lens page draws and gives away: its numbers, and the Python that computes them again."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from lens.analysis.answer.lens_rows import lens_rows
from lens.analysis.answer.logit_lens import LogitLens, follow_tokens, logit_lens
from lens.ui.calls import analyse, call_key, is_kept
from lens.ui.estimate import forward_seconds, operation_seconds
from lens.ui.export import Export
from lens.ui.labels import token_labels
from lens.ui.waiting import started

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

    from lens.analysis.answer.lens_rows import LensRow
    from lens.analysis.answer.logit_lens import Followed
    from lens.hooked import HookedTransformer
    from lens.ui.models import Prompt
    from lens.ui.pages.logit_lens.controls import Chosen, Place

ASK = 5.0  # estimated seconds above which the table waits for a click
AT_ONCE = 10  # tokens followed through the layers: a colour each


class Lens(NamedTuple):
    """The lens on one prompt; arrays of ``found`` are [row, pos]."""

    chosen: Chosen
    rows: tuple[LensRow, ...]
    prompt: Prompt
    found: LogitLens
    words: list[list[str]]  # [row][pos]: the top token

    @property
    def labels(self) -> list[str]:
        """Positions with their tokens, all different."""
        return [f"{position}: {label}" for position, label in enumerate(self.prompt.labels)]


def read_text(model: HookedTransformer, prompt: Prompt, chosen: Chosen) -> Lens | None:
    """The lens on every position; None while it waits for a click."""
    how = {"source": chosen.source, "mid": chosen.mid, "fitted": chosen.fitted}
    target = prompt.tokens.roll(-1, 1)
    target[:, -1] = -1
    args = (model, prompt.tokens, target if chosen.about == "next" else None)
    rows = lens_rows(model.cfg, chosen.source, chosen.mid)
    n, cfg = prompt.tokens.shape[1], model.cfg
    seconds = forward_seconds(model, n, False) + operation_seconds(
        model, 2 * (len(rows) + 1) * n * cfg.d_model * cfg.d_vocab
    )
    if seconds > ASK and not is_kept(logit_lens, *args, **how):
        sentence = f"{len(rows)} rows at {n} positions over {cfg.d_vocab:,} tokens of the vocabulary."
        if not started(call_key(logit_lens, args, how), seconds, sentence):
            return None
    found = analyse(logit_lens, *args, **how, progress=True)
    found = LogitLens(*(field[:, 0] for field in found))
    ids, where = np.unique(found.top, return_inverse=True)
    labels = np.array(token_labels(model, ids), object)
    return Lens(chosen, rows, prompt, found, labels[where.reshape(found.top.shape)].tolist())


def read_tokens(model: HookedTransformer, prompt: Prompt, lens: Lens, place: Place, answer: int | None) -> Followed:
    """The tokens of one position through all rows: the chosen cell's, the answer's, those that lead anywhere."""
    ids = [int(lens.found.top[place.row, place.position])] + ([] if answer is None else [answer])
    chosen = lens.chosen
    how = {"source": chosen.source, "mid": chosen.mid, "fitted": chosen.fitted}
    found = analyse(follow_tokens, model, prompt.tokens, place.position, tuple(dict.fromkeys(ids)), **how)
    kept = {name: getattr(found, name)[..., :AT_ONCE] for name in ("ids", "logprob", "rank")}
    return found._replace(**kept)


def table_of(lens: Lens) -> pd.DataFrame:
    """One row per cell."""
    n_rows, n = lens.found.rank.shape
    known = lens.found.rank >= 0
    return pd.DataFrame({
        "row": np.repeat([row.label for row in lens.rows], n),
        "position": np.tile(np.arange(n), n_rows),
        "token": lens.prompt.labels * n_rows,
        "top token": [word for words in lens.words for word in words],
        "its probability": np.exp(lens.found.top_logprob).ravel(),
        f"log-probability of {_ABOUT[lens.chosen.about]} (nats)": lens.found.logprob.ravel(),
        "its rank (from 1)": pd.Series((lens.found.rank + 1).ravel(), dtype="Int64").where(known.ravel()),
        "entropy (nats)": lens.found.entropy.ravel(),
        "KL to the output (nats)": lens.found.kl.ravel(),
    })  # fmt: skip


_ABOUT = {"final": "the output's top token", "next": "the token that came"}


def export_of(lens: Lens, followed: Followed, html: str, figure: Figure) -> Export:
    """Numbers of all cells, the table as it is drawn, and the Python that computes them."""
    payload = {"rows": [row.label for row in lens.rows], **lens.found._asdict(), "words": lens.words}
    payload |= {"followed": followed._asdict(), "chosen": lens.chosen._asdict()}
    return Export("logit_lens", html, partial(table_of, lens), payload, code(lens))


def code(lens: Lens) -> str:
    """The Python that computes every number of the table again."""
    chosen = lens.chosen
    target = "None  # the token on top of the output" if chosen.about == "final" else "tokens.roll(-1, 1)"
    last = "" if chosen.about == "final" else "target[:, -1] = -1  # nothing follows the last token\n"
    how = f"source={chosen.source!r}, mid={chosen.mid}, fitted={chosen.fitted}"
    return (
        "from lens.analysis.answer.lens_rows import lens_rows\n"
        "from lens.analysis.answer.logit_lens import logit_lens\n\n"
        f"target = {target}\n{last}"
        f"lens = logit_lens(model, tokens, target, {how})\n"
        f"rows = lens_rows(model.cfg, {chosen.source!r}, {chosen.mid})\n"
        "for place, row in enumerate(rows):\n"
        '    print(row.label, int(lens.top[place, 0, -1]), f"{float(lens.kl[place, 0, -1]):.4f}")\n'
    )
