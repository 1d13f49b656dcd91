"""What one cell changed: likely tokens, the loss of each token, and attention, from one plain forward pass."""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from lens.analysis.interventions.cells import Cell, check_places
from lens.analysis.interventions.engine import final_changes, prepare
from lens.analysis.interventions.intervention import Experiment
from lens.analysis.interventions.plan import BUDGET
from lens.analysis.interventions.recording import first_stream
from lens.analysis.interventions.rows import Rows
from lens.analysis.interventions.sites import find_site
from lens.analysis.interventions.walk import changes
from lens.components import at_least_float32
from lens.finite import require_finite
from lens.hooks import hooks
from lens.model import Transformer


class CellChange(NamedTuple):
    """One prompt before and after one cell was changed. The answer table is of the last token, by rank before."""

    tokens: Int[Tensor, " pos"]  # the prompt that was run
    top: Int[Tensor, " token"]  # ids: the likeliest before and after together, then right and wrong answers
    prob: Float[Tensor, "2 token"]  # before, after
    rank: Int[Tensor, "2 token"]  # tokens that score strictly higher: 0 is the top
    logit: Float[Tensor, "2 token"]
    loss: Float[Tensor, "2 pos_minus_1"]  # nats; entry p is the surprise at token p + 1
    pattern: Float[Tensor, "2 head query key"]  # of ``layer``
    layer: int

    @property
    def tied(self) -> tuple[int, int]:
        """How many tokens share the top before and after; 1 where one leads."""
        before, after = (int((row == 0).sum()) for row in self.rank)
        return before, after

    @property
    def likeliest(self) -> tuple[int, int]:
        """Entries of ``top``: the likeliest token before and after."""
        before, after = (int(row.argmin()) for row in self.rank)
        return before, after


class LossMoves(NamedTuple):
    """How the loss of each token of one prompt moves."""

    at: int  # the token whose loss moves most; 0 where none moves
    before: float  # its loss, nats
    after: float
    rises: int  # tokens whose loss rises by more than ``least``
    falls: int
    n: int  # tokens with a loss


def loss_moves(change: CellChange, least: float = 0.1) -> LossMoves:
    """The token whose loss moves most, and how many tokens' losses move by more than ``least`` nats."""
    before, after = np.asarray(change.loss)
    if not len(before):
        return LossMoves(0, float("nan"), float("nan"), 0, 0, 0)
    moved = after - before
    at = int(np.abs(moved).argmax())
    rises, falls = int((moved > least).sum()), int((moved < -least).sum())
    return LossMoves(at + 1 if moved[at] else 0, float(before[at]), float(after[at]), rises, falls, len(moved))


@torch.no_grad()
def cell_change(
    model: Transformer, experiment: Experiment, cell: Cell, pair: int = 0, layer: int = 0, n_top: int = 10
) -> CellChange:
    """What the cell does to one prompt of the experiment, and to the attention of one layer."""
    pairs, site = experiment.pairs, find_site(experiment.intervention.site, model.cfg)
    if not 0 <= pair < len(pairs) or not 0 <= layer < model.cfg.n_layers:
        raise ValueError(
            f"cell_change: pair {pair} of {len(pairs)}, layer {layer} of {model.cfg.n_layers}; both count from 0."
        )
    side = experiment.intervention.base
    tokens = torch.tensor(getattr(pairs, side)[pair], device=model.device)
    check_places(cell, site, model.cfg, len(tokens))
    runs = [_run(model, experiment, one, pair, layer) for one in ((), cell)]
    logits = torch.stack([run[0] for run in runs])
    last = logits[:, -1]
    ids = [*last[0].topk(n_top).indices.tolist(), *last[1].topk(n_top).indices.tolist()]
    ids += [token for answers in (pairs.answers, pairs.wrong) if answers for token in answers[pair]]
    top = torch.tensor(list(dict.fromkeys(ids)), device=model.device)
    top = top[last[0, top].argsort(descending=True)]
    rank = torch.stack([(last > last[:, [one]]).sum(-1) for one in top.tolist()], dim=1)
    loss = -logits[:, :-1].log_softmax(-1).gather(-1, tokens[1:].expand(2, -1)[..., None])[..., 0]
    pattern = torch.stack([run[1] for run in runs])
    return CellChange(tokens, top, last.softmax(-1)[:, top], rank, last[:, top], loss, pattern, layer)


def _run(model: Transformer, experiment: Experiment, cell: Cell, pair: int, layer: int) -> tuple[Tensor, Tensor]:
    """Logits [pos, d_vocab] and the pattern of one layer, with ``cell`` changed (nothing, if it is empty)."""
    setup, pairs = prepare(model, experiment, BUDGET).setup, experiment.pairs
    length = len(pairs.clean[pair])
    at = torch.tensor([pair], device=model.device)
    rows = Rows(at, (cell,), (0,), 0, length, at)
    specs = [spec for one in range(model.cfg.n_layers) for spec in changes(setup, rows, one, 1)]
    seen = []
    look = [(f"blocks.{layer}.attn.hook_pattern", lambda pattern, hook: seen.append(pattern[0]))]
    resid = first_stream(model, pairs, experiment.intervention.base)[0][pair : pair + 1, :length]
    with hooks(model, specs + final_changes(setup, rows, 1)), hooks(model, look, writes=False):
        logits = model(resid, start_at_layer=0)
    require_finite(model, pairs.side(experiment.intervention.base, model.device).tokens[[pair], :length], logits)
    return at_least_float32(logits[0]), seen[0]
