"""A model on the bench: its sequences, and the functions that are under test."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lens.analysis.checkpoint import OnRepeats, measure_repeats
from lens.analysis.head_scores import head_scores
from lens.analysis.induction_loss import InductionLoss, loss_by_position
from lens.analysis.logit_lens import LogitLens, logit_lens
from lens.analysis.names import Head
from lens.analysis.random_tokens import RepeatedTokens, repeated_tokens
from lens.analysis.score_results import HeadScores
from lens.analysis.selftest.copying import Copying, copying
from lens.analysis.selftest.dated import Dated, dated
from lens.cache import ActivationCache
from lens.decompose import Stack, whole
from lens.hooked import HookedTransformer
from lens.hooks import HookPoint
from lens.planted.layout import N
from lens.readout import logit_contributions

OTHER_N = 20  # another length of block: what works at one length only is no induction


def k_composition(model: HookedTransformer) -> Float[Tensor, "layer head layer head"]:
    """Composition of every head with the keys of every head of a later layer."""
    return model.all_composition_scores("K")


def contributions(cache: ActivationCache, direction: Float[Tensor, "batch pos d_model"]) -> Stack:
    """What every head, the embeddings and the biases add to the logit of ``direction``; values [part, batch, pos]."""
    parts = whole(cache)
    return Stack(logit_contributions(cache, parts.values, direction), parts.labels)


@torch.no_grad()
def replaced(
    model: HookedTransformer,
    tokens: Int[Tensor, "batch pos"],
    heads: tuple[Head, ...],
    source: ActivationCache | None,
) -> Float[Tensor, "batch pos d_vocab"]:
    """Logits when ``heads`` write what they wrote in the run ``source``, position by position; None: z = 0."""

    def put(z: Tensor, hook: HookPoint) -> None:
        for layer, head in heads:
            if layer == hook.layer():
                z[:, :, head] = 0 if source is None else source[hook.name][:, :, head]

    names = {f"blocks.{layer}.attn.hook_z" for layer, _ in heads}
    return model.run_with_hooks(tokens, fwd_hooks=[(list(names), put)])


class Run(NamedTuple):
    """The tokens of one forward pass, its logits and all its activations."""

    tokens: Int[Tensor, "batch pos"]
    logits: Float[Tensor, "batch pos d_vocab"]
    cache: ActivationCache


class Tools(NamedTuple):
    """The functions under test. Hand a broken one to :func:`lens.analysis.selftest.run`, and its rows turn red."""

    sequences: Callable[..., RepeatedTokens] = repeated_tokens  # (model, n, n_seqs, seed)
    head_scores: Callable[[HookedTransformer, RepeatedTokens], HeadScores] = head_scores
    k_composition: Callable[[HookedTransformer], Tensor] = k_composition
    copying: Callable[[HookedTransformer, int, int], Copying] = copying  # (model, draws, seed)
    contributions: Callable[[ActivationCache, Tensor], Stack] = contributions
    induction_loss: Callable[[HookedTransformer, RepeatedTokens], InductionLoss] = loss_by_position
    logit_lens: Callable[[HookedTransformer, Tensor, Tensor], LogitLens] = logit_lens
    replaced: Callable[..., Tensor] = replaced  # (model, tokens, heads, source)
    checkpoint: Callable[[HookedTransformer, RepeatedTokens], OnRepeats] = measure_repeats
    dated: Callable[..., Dated] = dated  # (labels, repeats by checkpoint)


TOOLS = Tools()


@dataclass(frozen=True, eq=False)
class Subject:
    """A model, blocks of N random tokens that repeat with their control, and the same with blocks of OTHER_N."""

    model: HookedTransformer
    repeated: RepeatedTokens
    other: RepeatedTokens
    tools: Tools
    _lost: dict = field(default_factory=dict, init=False)  # the strongest head often is the only one that scores

    @cached_property
    def scores(self) -> HeadScores:
        """Head scores on the repeats, computed once for the instruments that read them."""
        return self.tools.head_scores(self.model, self.repeated)

    @cached_property
    def runs(self) -> tuple[Run, Run]:
        """The model on the repeats, and on their control."""
        both = (self.repeated.tokens, self.repeated.control)
        with torch.no_grad():
            return tuple(Run(tokens, *self.model.run_with_cache(tokens)) for tokens in both)

    def lost_without(self, heads: tuple[Head, ...]) -> tuple[Float[Tensor, " batch"], ...]:
        """What the logit difference loses per sequence: z = 0, z of the control run, and z = 0 on the control."""
        if heads not in self._lost:
            repeat, control = self.runs
            cases = ((repeat, None), (repeat, control.cache), (control, None))
            self._lost[heads] = tuple(self._change(run, heads, source) for run, source in cases)
        return self._lost[heads]

    def _change(self, run: Run, heads: tuple[Head, ...], source: ActivationCache | None) -> Float[Tensor, " batch"]:
        logits = self.tools.replaced(self.model, run.tokens, heads, source)
        return self.mean(self.difference(run.logits) - self.difference(logits))

    @property
    def block(self) -> Int[Tensor, "batch n"]:
        """The tokens that are repeated."""
        return self.repeated.tokens[:, self.repeated.bos : self.repeated.bos + self.repeated.n]

    @property
    def queries(self) -> slice:
        """Positions of the second copy whose next token belongs to it too."""
        queries = self.repeated.queries
        return slice(queries.start, queries.stop - 1)

    def following(self, steps: int = 1) -> Int[Tensor, "batch pos"]:
        """For every position of a repeat, the token ``steps`` on in the (endlessly repeated) block; 1: the next."""
        place = torch.arange(self.repeated.tokens.shape[1]) - self.repeated.bos + steps
        return self.block[:, place % self.repeated.n]

    @property
    def direction(self) -> Float[Tensor, "batch pos d_model"]:
        """Of the stream at every position: raises the next token of the block above the one after that."""
        of = self.model.tokens_to_residual_directions
        return of(self.following(1)) - of(self.following(2))

    def difference(self, logits: Float[Tensor, "batch pos d_vocab"]) -> Float[Tensor, "batch pos"]:
        """Logit of the next token of the block minus the logit of the one after that, at every position."""
        pick = [logits.gather(-1, self.following(steps)[..., None])[..., 0] for steps in (1, 2)]
        return pick[0] - pick[1]

    def mean(self, values: Float[Tensor, "*rest batch pos"]) -> Float[Tensor, "*rest batch"]:
        """Mean over the queries of the second copy."""
        return values[..., self.queries].mean(-1)


def make_subject(model: HookedTransformer, n_seqs: int, seed: int, tools: Tools = TOOLS) -> Subject:
    """``model`` with ``n_seqs`` sequences of each length."""
    repeated, other = (tools.sequences(model, n, n_seqs, seed) for n in (N, OTHER_N))
    return Subject(model, repeated, other, tools)
