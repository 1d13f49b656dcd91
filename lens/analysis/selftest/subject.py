"""A model on the bench: its sequences, and the functions that are under test."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lens.analysis.answer.direct_attribution import (
    DirectAttribution,
    Target,
    TopNeurons,
    direct_attribution,
    neuron_attribution,
)
from lens.analysis.answer.generation import Written, write
from lens.analysis.answer.knockout import Knockout, knockout
from lens.analysis.answer.logit_lens import LogitLens, logit_lens
from lens.analysis.answer.neurons import layer_activations
from lens.analysis.answer.predictions import Prediction, predict
from lens.analysis.answer.reasons import Reasons, stripe_reasons
from lens.analysis.checkpoint import OnRepeats, measure_repeats
from lens.analysis.head_scores import head_scores
from lens.analysis.induction_loss import InductionLoss, loss_by_position
from lens.analysis.instruments.registry import INSTRUMENTS
from lens.analysis.interventions import (
    Experiment,
    Grid,
    Intervention,
    Metric,
    Pairs,
    Sweep,
    attribution,
    heads_set,
    run_sweep,
)
from lens.analysis.names import Head
from lens.analysis.random_tokens import RepeatedTokens, repeated_tokens
from lens.analysis.score_results import HeadScores
from lens.analysis.selftest.copying import Copying, copying
from lens.analysis.selftest.dated import Dated, dated
from lens.cache import ActivationCache
from lens.decompose import Stack, whole
from lens.hooked import HookedTransformer
from lens.planted.layout import N
from lens.readout import logit_contributions

TESTED = tuple(one.name for one in INSTRUMENTS if one.pattern and one.expected)  # on the bench by their patterns
OTHER_N = 20  # another length of block: what works at one length only is no induction


def k_composition(model: HookedTransformer) -> Float[Tensor, "layer head layer head"]:
    """Composition of every head with the keys of every head of a later layer."""
    return model.all_composition_scores("K")


def contributions(cache: ActivationCache, direction: Float[Tensor, "batch pos d_model"]) -> Stack:
    """What every head, the embeddings and the biases add to the logit of ``direction``; values [part, batch, pos]."""
    parts = whole(cache)
    return Stack(logit_contributions(cache, parts.values, direction), parts.labels)


class Run(NamedTuple):
    """The tokens of one forward pass, its logits and all its activations."""

    tokens: Int[Tensor, "batch pos"]
    logits: Float[Tensor, "batch pos d_vocab"]
    cache: ActivationCache


class Tools(NamedTuple):
    """The functions under test. Hand a broken one to :func:`lens.analysis.selftest.run`, and its rows turn red."""

    sequences: Callable[..., RepeatedTokens] = repeated_tokens  # (model, n, n_seqs, seed)
    head_scores: Callable[..., HeadScores] = head_scores  # (model, repeated, names=names)
    k_composition: Callable[[HookedTransformer], Tensor] = k_composition
    copying: Callable[[HookedTransformer, int, int], Copying] = copying  # (model, draws, seed)
    contributions: Callable[[ActivationCache, Tensor], Stack] = contributions
    induction_loss: Callable[[HookedTransformer, RepeatedTokens], InductionLoss] = loss_by_position
    logit_lens: Callable[[HookedTransformer, Tensor, Tensor], LogitLens] = logit_lens
    write: Callable[..., Written] = write  # (model, tokens, n_new, sampling, change)
    sweep: Callable[[HookedTransformer, Experiment], Sweep] = run_sweep
    first_order: Callable[[HookedTransformer, Sequence[Experiment]], list[Sweep]] = attribution
    answer: Callable[[HookedTransformer, Tensor, Target], DirectAttribution] = direct_attribution
    predict: Callable[..., Prediction] = predict  # (model, tokens, pos, answers, n_top)
    knockout: Callable[..., Knockout] = knockout  # (model, head, tokens, cells)
    neurons: Callable[..., TopNeurons] = neuron_attribution  # (model, tokens, target, count)
    activations: Callable[[HookedTransformer, Tensor, int], Tensor] = layer_activations  # (model, tokens, layer)
    reasons: Callable[[HookedTransformer, Head, RepeatedTokens], Reasons] = stripe_reasons
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
        return self.tools.head_scores(self.model, self.repeated, names=TESTED)

    @cached_property
    def runs(self) -> tuple[Run, Run]:
        """The model on the repeats, and on their control."""
        both = (self.repeated.tokens, self.repeated.control)
        with torch.no_grad():
            return tuple(Run(tokens, *self.model.run_with_cache(tokens)) for tokens in both)

    @cached_property
    def looker(self) -> Head:
        """The head with the highest induction score: the one that is asked why it looks there."""
        scores = self.scores["induction"].score.mean
        return Head(*divmod(int(scores.argmax()), scores.shape[1]))

    @cached_property
    def reasons(self) -> Reasons:
        """Why that head has its stripe."""
        return self.tools.reasons(self.model, self.looker, self.repeated)

    @property
    def pairs(self) -> Pairs:
        """Every repeat beside its control."""
        return Pairs.of(self.repeated.tokens, self.repeated.control)

    @cached_property
    def metric(self) -> Metric:
        """The logit difference of :meth:`difference`, read at the queries of the second copy."""
        right, wrong = self.following(1), self.following(2)

        def difference(logits: Tensor, pair: Tensor, pos: Tensor) -> Tensor:
            ids = torch.stack([right[pair, pos], wrong[pair, pos]], -1)
            return logits.gather(-1, ids).diff(dim=-1)[:, 0].neg()

        return Metric("function", where=tuple(range(self.queries.start, self.queries.stop)), function=difference)

    def lost_without(self, heads: tuple[Head, ...]) -> tuple[Float[Tensor, " batch"], ...]:
        """What the logit difference loses per sequence: z = 0, z of the control run, and z = 0 on the control."""
        if heads not in self._lost:
            cases = ((self.pairs, "zero"), (self.pairs, "other"), (self.pairs.swapped(), "zero"))
            self._lost[heads] = tuple(self._lost_by(pairs, put, heads) for pairs, put in cases)
        return self._lost[heads]

    def _lost_by(self, pairs: Pairs, put: str, heads: tuple[Head, ...]) -> Float[Tensor, " batch"]:
        intervention, grid = Intervention("z", put, into="clean"), Grid(sets=(heads_set(heads),))
        sweep = self.tools.sweep(self.model, Experiment(pairs, intervention, grid, self.metric))
        return sweep.base - sweep.values[0]

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
    def asked(self) -> int:
        """The last position of the second copy whose next two tokens are known."""
        return self.queries.stop - 1

    @property
    def continued(self) -> tuple[Int[Tensor, "batch pos"], Int[Tensor, "batch pos"]]:
        """The repeats and their control up to there, both with the next token of the block at their end."""
        both = (self.repeated.tokens, self.repeated.control)
        following = self.following(1)[:, self.asked, None]
        return tuple(torch.cat([tokens[:, : self.asked + 1], following], 1) for tokens in both)

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
