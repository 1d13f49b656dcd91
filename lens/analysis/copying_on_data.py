"""Does a head copy on data? Its direct path to the logits on random tokens that repeat, with the control beside it.

The weights say what a head would write for any token; this says what it does write where it really looks. The two may
disagree: a head can raise its target by a path that eigenvalues do not show, or copy well and never look.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from einops import einsum
from jaxtyping import Float, Int
from torch import Tensor

from lens.analysis.counts import counted
from lens.analysis.direct_paths import PATH, DirectPaths
from lens.analysis.large_products import midrank
from lens.analysis.random_tokens import RepeatedTokens
from lens.analysis.rotation_test import rotation_z
from lens.analysis.score_results import HeadScore, HeadScores, Kind, Samples, head_score
from lens.analysis.streaming import stream
from lens.model import Transformer
from lens.progress import Progress, silent

CONTROL = "the same queries and tokens on the paired control, where other tokens follow the first copy"
TARGET = "the induction target, the token after the earlier occurrence of the query's"
QUERIES = "mean over the second copy but its last token, whose target would stand in the second copy itself"


class Direct(NamedTuple):
    """The direct path of every head on each sequence, means over the queries of the second copy but the last."""

    target_logit: Float[Tensor, "sequence layer head"]
    target_rank: Float[Tensor, "sequence layer head"]
    attended_share: Float[Tensor, "sequence layer head"]
    written: Float[Tensor, "sequence layer head"]  # mean square of all logits of the candidates
    core: Float[Tensor, "layer head d_head d_head"]  # its trace is the sum of the target logits, repeats − controls


@dataclass(frozen=True, kw_only=True)
class CopyingScores(HeadScores):
    """What heads write on data, with what a verdict about it needs beside its interval."""

    z: Float[Tensor, "layer head"]  # of the logit's effect (every query weighs the same), under rotations of the head
    written: Float[Tensor, "layer head"]  # logits: root mean square of what it writes on the candidates by itself


def kinds(n_tokens: int, first: int = 0) -> list[Kind]:
    """The numbers in words; ``n_tokens`` are the distinct tokens of a repeated sequence, the first one included.
    ``first``: the best rank.
    """
    among = f"the {n_tokens} tokens of the repeated sequence"
    return [
        Kind(
            "target_logit",
            "logits",
            f"{PATH}, minus its mean over the vocabulary: logit of {TARGET}; {QUERIES}.",
            CONTROL,
            False,
        ),
        Kind(
            "target_rank",
            "rank",
            f"{PATH}: {'one more than ' * first}how many of {among} it raises more than {TARGET}, half of those that "
            f"it raises as much; {QUERIES}. {first} is best, {first + (n_tokens - 1) / 2:g} is chance.",
            CONTROL,
            False,
        ),
        Kind(
            "attended_share",
            "share",
            f"{PATH}, minus its mean over the vocabulary: of all that it raises among {among}, the share of the one it "
            f"attends to most; {QUERIES}. 1/{n_tokens} is chance.",
            CONTROL,
            False,
        ),
    ]


def from_one(score: HeadScore) -> HeadScore:
    """``target_rank`` for reading: the same, where 1 is the best rank and not 0."""
    n_tokens, one = round(2 * score.uniform) + 1, score.score
    ends = {} if one.low is None else {"low": 1 + one.low, "high": 1 + one.high}
    (kind,) = (kind for kind in kinds(n_tokens, first=1) if kind.name == score.kind.name)
    mean = one._replace(mean=1 + one.mean, **ends)
    return score._replace(kind=kind, score=mean, null_mean=1 + score.null_mean, uniform=1 + score.uniform)


def copying_on_data(model: Transformer, repeated: RepeatedTokens, progress: Progress = silent) -> CopyingScores:
    """What every head writes to the logits by itself on repeats, with the control of each sequence.

    ``repeated``: from :func:`lens.analysis.random_tokens.repeated_tokens`; 16 sequences or more give intervals. Biases
    and the way through later layers are not in it. Source: Olsson et al. 2022, appendix, copying evaluator.
    """
    n_seqs = len(repeated.tokens)
    both = direct_paths(model, repeated, progress)
    n_tokens, scores = repeated.bos + repeated.n, {}
    uniform = {"target_logit": 0.0, "target_rank": (n_tokens - 1) / 2, "attended_share": 1 / n_tokens}
    for kind in kinds(n_tokens):
        values = getattr(both, kind.name)
        samples = Samples(values[:n_seqs], values[n_seqs:], uniform[kind.name], n_seqs * (repeated.n - 1))
        scores[kind.name] = head_score(kind, samples, "sequences", repeated.seed)
    read = f"{counted(n_seqs, 'sequence')} of {repeated.n} random tokens, twice"
    source = f"{read}; {repeated.description}; seed {repeated.seed}"
    more = {"z": rotation_z(both.core), "written": both.written[:n_seqs].mean(0).sqrt()}
    return CopyingScores(scores=scores, missing={}, source=source, seed=repeated.seed, **more)


@torch.no_grad()
def direct_paths(model: Transformer, repeated: RepeatedTokens, progress: Progress = silent) -> Direct:
    """The direct paths on all repeated sequences, and then on their controls: ``2 n_seqs`` sequences."""
    paths = _Paths(model, repeated)
    tokens = torch.cat([repeated.tokens, repeated.control])
    stream(model, tokens, paths.visits(), progress=progress)
    logit, written = (paths.raised / paths.scale).mean(2), (paths.square / paths.scale.square()).mean(2)
    return Direct(*(found.cpu() for found in (logit, paths.rank, paths.share, written, paths.core)))


class _Paths(DirectPaths):
    """Ranks, shares and logits of the induction target in the second copy."""

    def __init__(self, model: Transformer, repeated: RepeatedTokens) -> None:
        bos, n, cfg = repeated.bos, repeated.n, model.cfg
        # The same candidates in a sequence and in its control: the tokens of the first copy.
        super().__init__(model, repeated.tokens[:, : bos + n].repeat(2, 1), slice(bos + n, bos + 2 * n - 1))
        self.target = torch.arange(bos + 1, bos + n, device=model.device)  # a place among the candidates
        shape = (len(self.candidates), cfg.n_layers, n - 1, cfg.n_heads)
        self.raised, self.square = (torch.empty(shape, device=model.device) for _ in range(2))  # times the scale
        self.sign = torch.ones(len(self.candidates), device=model.device)
        self.sign[len(repeated.tokens) :] = -1  # the controls
        self.core = torch.zeros(cfg.n_layers, cfg.n_heads, cfg.d_head, cfg.d_head, device=model.device)
        self.rank, self.share = (torch.empty(*shape[:2], shape[3], device=model.device) for _ in range(2))
        self.attended: Int[Tensor, "batch query head"] = self.target

    def see_pattern(self, layer: int, rows: slice, pattern: Float[Tensor, "batch head query key"]) -> None:
        """Where each query looks, among the first copy."""
        self.attended = pattern[:, :, self.queries, : self.candidates.shape[1]].argmax(-1).mT

    def see_z(self, layer: int, rows: slice, z: Float[Tensor, "batch pos head d_head"]) -> None:
        """What every head writes, along the candidates' directions."""
        along = self.along(layer, rows)
        logits = self.logits(z, along)
        target = self.target[None, :, None, None].expand(*logits.shape[:3], 1)
        own = logits.gather(-1, target)
        self.raised[rows, layer] = own[..., 0]
        self.square[rows, layer] = logits.square().mean(-1)
        self.core[layer] += einsum(
            self.sign[rows], z[:, self.queries].float(), along[..., self.target],
            "batch, batch query head d_in, batch head d_out query -> head d_in d_out",
        )  # fmt: skip
        self.rank[rows, layer] = midrank(logits, own).mean(1)
        positive = logits.clamp(min=0)
        at = positive.gather(-1, self.attended[..., None])[..., 0]
        share = at / positive.sum(-1).clamp(min=torch.finfo(at.dtype).tiny)  # 0 where nothing is raised
        self.share[rows, layer] = share.mean(1)
