"""What several heads would write together: the diagonal of the sum of their OV circuits, beside that of each alone."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lens.analysis.circuit_weights import (
    Embedding,
    check_embedding,
    output_weights,
    source_rows,
    stream_embedding,
    value_weights,
)
from lens.analysis.head_vocabulary import Accuracy, OwnRanks, copying_accuracy, logits_of, most_top
from lens.analysis.large_products import ENTRIES, midrank
from lens.analysis.names import Head, check_heads
from lens.analysis.ov_copying import haar
from lens.analysis.random_tokens import sampling_set
from lens.analysis.stats import Estimate, estimate
from lens.analysis.verdicts import Verdict, differs_from_zero, too_few
from lens.arrays import as_tensor
from lens.batching import at_once
from lens.config import Config
from lens.finite import require_finite_weights
from lens.hooked import HookedTransformer
from lens.progress import Progress, silent

TOKENS = 256  # drawn from the vocabulary
ROTATIONS = 20  # of every head: more than all of them is p ≤ 1/21
AMONG = (1, 5)  # "is the token among the k that are raised most"
DEFINITION = (
    "Share of tokens whose own logit is raised most, or among the five raised most, by attending to them: by each head "
    "alone and by the sum Σ W_E W_V W_O W_U over the set, norms folded in."
)


class EffectiveOV(NamedTuple):
    """Where drawn tokens stand in their own rows of the OV circuits; 0: it is raised most, equal ones share a place."""

    heads: tuple[Head, ...]
    ids: Int[Tensor, " token"]
    alone: Float[Tensor, "head token"]
    together: Float[Tensor, " token"]  # of the sum over the set
    rotated: Float[Tensor, "draw token"]  # of the sum, each head with a random rotation between W_V and W_O
    d_vocab: int
    seed: int
    description: str  # of the set the tokens were drawn from

    def accuracy(self, k: int) -> "SetAccuracy":
        """Shares of tokens in the top ``k`` of their own row."""
        ranks = torch.cat([as_tensor(self.alone), as_tensor(self.together)[None]])
        drawn = OwnRanks(as_tensor(self.ids), ranks, self.d_vocab, self.seed, self.description)
        rotated = copying_accuracy(drawn._replace(rank=as_tensor(self.rotated)), k).share
        hits = (ranks <= k - 1).double()
        best = int(hits[:-1].mean(1).argmax())
        gain = estimate((hits[-1] - hits[best])[:, None], unit="tokens", seed=self.seed)
        return SetAccuracy(copying_accuracy(drawn, k), rotated, self.heads[best], _of_one(gain))

    @property
    def ks(self) -> tuple[int, ...]:
        """The top k that say something of this vocabulary."""
        return tuple(k for k in AMONG if k <= most_top(self.d_vocab))


def _of_one(found: Estimate) -> Estimate:
    ends = (None if end is None else end[0] for end in (found.low, found.high))
    return Estimate(found.mean[0], *ends, found.n, found.note)


class SetAccuracy(NamedTuple):
    """How well a set of heads copies, beside each of them and beside chance."""

    found: Accuracy  # of each head, then of the sum
    rotated: Float[Tensor, " draw"]
    best: Head  # the best of them alone
    gain: Estimate  # share of the sum minus that of ``best``, over the same tokens

    @property
    def together(self) -> float:
        """The share of the sum."""
        return float(self.found.share[-1])

    @property
    def copies(self) -> Verdict:
        """Whether the sum copies more than it does with any of the random rotations.

        Its rate of error is that of one ``k`` and of heads that were chosen before anything was seen of their copying.
        """
        few = too_few(self.found.n, "tokens")
        if few:
            return Verdict("unknown", few)
        sets = f"by chance in 1 of {len(self.rotated) + 1} sets of heads chosen beforehand"
        found = self.together > float(as_tensor(self.rotated).max())
        return Verdict("found" if found else "none", f"{self.beside_rotations} ({sets})")

    @property
    def beside_rotations(self) -> str:
        """The share of the sum and the largest with random rotations, without a verdict."""
        most = float(as_tensor(self.rotated).max())
        return f"{self.together:.3g}, with {len(self.rotated)} random rotations at most {most:.3g}"

    @property
    def more_than_best(self) -> Verdict:
        """Whether the sum copies more than the best of them alone; of one ``k``, and heads chosen beforehand.

        The best is chosen on the same tokens, so its share is too high by chance: "more" errs less often than the
        interval says, and "less" would err more often, so it is never said.
        """
        verdict = differs_from_zero(self.gain, unit="tokens")
        if verdict.found and float(self.gain.mean) < 0:
            return Verdict("none", f"{float(self.gain.mean):.3g}, and the best was chosen on the same tokens")
        return verdict


@torch.no_grad()
def effective_ov(
    model: HookedTransformer,
    heads: Sequence[tuple[int, int]],
    embedding: Embedding = "tokens",
    n_tokens: int = TOKENS,
    seed: int = 0,
    progress: Progress = silent,
) -> EffectiveOV:
    """Ranks of drawn tokens in their own rows of W_E Σ W_V W_O W_U over ``heads``, and of each head alone.

    Heads are summed as their weights are: a text gives each layer's row another positive factor, the norms' scales.
    Only the drawn rows are formed, a few at a time. Null: every head's W_V R W_O with R Haar, as of OV copying.
    """
    heads = tuple(Head(*head) for head in heads)
    check_embedding(model.cfg, embedding)
    check_heads(heads, model.cfg)
    if not heads:
        raise ValueError("effective_ov: no heads; name at least one as (layer, head).")
    sampling, generator = sampling_set(model), torch.Generator().manual_seed(seed)
    ids = sampling.ids[torch.randperm(len(sampling.ids), generator=generator)[:n_tokens]].sort().values
    reads, writes = zip(*(_factors(model, head, ids, embedding) for head in heads))
    alone = torch.stack([_ranks([read], [write], ids) for read, write in zip(reads, writes)])
    size, found = model.cfg.d_head, []
    together = _ranks(reads, writes, ids)
    for draw in range(ROTATIONS):
        turned = [read @ haar((), size, generator).to(read) for read in reads]
        found.append(_ranks(turned, writes, ids))
        progress((draw + 1) / ROTATIONS, f"rotation {draw + 1} of {ROTATIONS}")
    return EffectiveOV(heads, ids, alone, together, torch.stack(found), model.cfg.d_vocab, seed, sampling.description)


def _factors(
    model: HookedTransformer, head: Head, ids: Tensor, embedding: Embedding
) -> tuple[Float[Tensor, "token d_head"], Float[Tensor, "d_head d_vocab"]]:
    rows = source_rows(model, ids, stream_embedding(head.layer, embedding))
    reads = rows @ value_weights(model, head.layer)[head.head // model.cfg.group_size]
    writes = logits_of(model, output_weights(model, head.layer)[head.head])
    for factor in (reads, writes):
        require_finite_weights(model, factor, "OV circuit over the vocabulary")
    return reads, writes


def operations(cfg: Config, n_heads: int) -> int:
    """Multiplications and additions of :func:`effective_ov`: what heads write for the vocabulary, then the rows."""
    products = TOKENS * (ROTATIONS + 2)  # of drawn rows with each head's writes: alone, summed, and rotated
    return 2 * n_heads * cfg.d_vocab * cfg.d_head * (cfg.d_model + products)


def _ranks(
    reads: Sequence[Float[Tensor, "token d"]], writes: Sequence[Float[Tensor, "d d_vocab"]], ids: Tensor
) -> Float[Tensor, " token"]:
    """Places of tokens in their own rows of the sum over heads, which is formed for a few rows at a time."""
    step, found = max(1, at_once(ENTRIES // writes[0].shape[1])), []
    for start in range(0, len(ids), step):
        rows = slice(start, start + step)
        values = reads[0][rows] @ writes[0]
        for read, write in zip(reads[1:], writes[1:]):
            values.addmm_(read[rows], write)
        own = ids[rows, None].to(values.device)
        found.append(midrank(values, values.gather(1, own)).cpu())
    return torch.cat(found)


def effective_ov_to_python(heads: Sequence[tuple[int, int]], embedding: Embedding, seed: int) -> str:
    """After a ``model`` is opened: prints the shares of each head alone, of the sum, and of its rotations."""
    return (
        "from lens.analysis.effective_ov import effective_ov\n\n"
        f"found = effective_ov(model, {[tuple(head) for head in heads]!r}, {embedding!r}, seed={seed})\n"
        "for k in found.ks:\n"
        "    shares = found.accuracy(k)\n"
        '    print(f"top {k}, each alone, then the sum:", shares.found.share.tolist())\n'
        '    print(f"top {k}, rotated:", shares.rotated.tolist())\n'
    )
