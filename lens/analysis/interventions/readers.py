"""Reading a metric from the final stream: only where it is read, and only the logits that it needs."""

from typing import NamedTuple

import torch
from einops import einsum
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lens.analysis.interventions.intervention import Metric
from lens.analysis.interventions.pairs import Ids, Pairs
from lens.components import at_least_float32, softcapped
from lens.finite import require_finite
from lens.model import Transformer


class Answers(NamedTuple):
    """Ids with their weights, as many for every pair; weight 0 fills up."""

    ids: Int[Tensor, "pair answer"]
    weights: Float[Tensor, "pair answer"]


def _answers(parts: list[tuple[tuple[Ids, ...], float]], device: torch.device) -> Answers:
    rows = [
        [(token, sign / len(ids[pair])) for ids, sign in parts for token in ids[pair]]
        for pair in range(len(parts[0][0]))
    ]
    width = max(map(len, rows))
    filled = [row + [(0, 0.0)] * (width - len(row)) for row in rows]
    ids = torch.tensor([[token for token, _ in row] for row in filled], device=device)
    return Answers(ids, torch.tensor([[weight for _, weight in row] for row in filled], device=device))


class Reader:
    """Reads one metric of one side's prompts from normalised final streams. Values are float32 or better."""

    def __init__(self, model: Transformer, pairs: Pairs, side: str, metric: Metric):
        self.model, self.metric = model, metric
        batch = pairs.side(side, model.device)
        self.tokens, self.lengths = batch.tokens, batch.lengths
        self.read = self._where(batch.mask)
        self.clean: Tensor | None = None  # normalised final stream of the clean run [pair, pos, d_model], for kl
        if metric.kind in ("logit_diff", "lead", "logit", "log_prob", "prob", "prob_diff", "rank"):
            parts = [(_given(pairs.answers, "answers", metric), 1.0)]
            parts += [(_given(pairs.wrong, "wrong", metric), -1.0)] if metric.kind.endswith("diff") else []
            self.answers = _answers(parts, model.device)

    def _where(self, mask: Bool[Tensor, "pair pos"]) -> Bool[Tensor, "pair pos"]:
        place = torch.arange(mask.shape[1], device=mask.device)
        loss = self.metric.kind == "loss"
        readable = place < self.lengths[:, None] - int(loss)
        if self.metric.where == "all":
            read = readable
        elif self.metric.where == "last":
            read = place == self.lengths[:, None] - 1 - int(loss)
        else:
            at = torch.tensor(self.metric.where, device=mask.device)
            at = torch.where(at < 0, self.lengths[:, None] + at, at.expand(len(mask), -1))
            read = (place == at[..., None]).any(1) & readable
        if not read.any(1).all():
            shortest, which = int(self.lengths.min()), int((~read.any(1)).nonzero()[0])
            raise ValueError(
                f"{self.metric.kind} at {self.metric.where} is read nowhere in prompt {which}; the shortest has "
                f"{shortest} tokens{', each but the last predicting the next' if loss else ''}. Choose other positions."
            )
        return read

    @property
    def needs_vocabulary(self) -> bool:
        """Whether logits of all tokens are computed."""
        return self.metric.kind not in ("logit_diff", "logit")

    def __call__(
        self, normed: Float[Tensor, "n d_model"], pair: Int[Tensor, " n"], pos: Int[Tensor, " n"]
    ) -> Float[Tensor, " n"]:
        """The metric at each of ``n`` places, from the normalised final stream there.

        NotFinite where it, or what is ranked for it, is NaN or infinite.
        """
        values = self._values(normed, pair, pos)
        if self.metric.kind != "function":
            require_finite(self.model, self.tokens, values, what="values of the metric")
        return values

    def _values(self, normed: Tensor, pair: Tensor, pos: Tensor) -> Tensor:
        if not self.needs_vocabulary:
            return self._few_logits(normed, pair)
        kind, logits = self.metric.kind, self.model.unembed(normed)
        if kind in ("lead", "rank", "function"):
            require_finite(self.model, self.tokens, logits)
        if kind == "function":
            return at_least_float32(self.metric.function(logits, pair, pos))
        logits = at_least_float32(logits)
        if kind == "loss":
            return torch.nn.functional.cross_entropy(logits, self.tokens[pair, pos + 1], reduction="none")
        if kind == "kl":
            clean = at_least_float32(self.model.unembed(self.clean[pair, pos])).log_softmax(-1)
            return (clean.exp() * (clean - logits.log_softmax(-1))).sum(-1)
        ids, weights = self.answers.ids[pair], self.answers.weights[pair]
        if kind == "lead":
            right = torch.zeros_like(logits).scatter_add(1, ids, weights) > 0
            return logits.masked_fill(~right, -torch.inf).amax(-1) - logits.masked_fill(right, -torch.inf).amax(-1)
        if kind == "rank":
            above = torch.stack([(logits > logits.gather(1, one)).sum(-1) for one in ids.split(1, dim=1)], dim=1)
            return ((1 + above) * weights).sum(-1)
        log_prob = logits.log_softmax(-1).gather(1, ids)
        if kind in ("prob", "prob_diff"):
            return (log_prob.exp() * weights.sign()).sum(-1)
        return (log_prob * weights).sum(-1)

    def _few_logits(self, normed: Tensor, pair: Tensor) -> Tensor:
        unembed = self.model.unembed
        W = unembed.directions(self.answers.ids)  # [pair, answer, d_model]
        logits = (
            einsum(normed, W[pair], "n d_model, n answer d_model -> n answer") + unembed.b_U[self.answers.ids][pair]
        )
        return (at_least_float32(softcapped(logits, unembed.softcap)) * self.answers.weights[pair]).sum(-1)

    def bytes_per_place(self) -> int:
        """Working memory for one place that is read."""
        wide = self.model.cfg.d_vocab * (3 if self.metric.kind == "kl" else 2)
        return 4 * (wide if self.needs_vocabulary else self.model.cfg.d_model * (1 + self.answers.ids.shape[1]))


def _given(ids: tuple[Ids, ...], name: str, metric: Metric) -> tuple[Ids, ...]:
    if not ids or not all(ids):
        raise ValueError(f"Metric {metric.kind} needs {name} for every pair; these pairs have none. Give {name}=….")
    return ids
