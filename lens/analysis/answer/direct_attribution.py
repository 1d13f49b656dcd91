"""Which part of the model pushes an answer: one number of the output as a sum over everything that wrote into it.

At the final norm's scale as it was at that position the logits are linear in the stream, so each write adds its own
share. What is not linear stands apart, as parts of their own: a cap on the logits, and, of a log-probability, the
entropy. b_O and the constant part of the values (b_V, and the norm's bias through W_V) belong to no head.
Source: Elhage et al. 2021, "A mathematical framework for transformer circuits".
"""

from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from einops import einsum
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lens.analysis.answer.head_inputs import Write
from lens.analysis.answer.neurons import check_neuron
from lens.analysis.answer.writes import Writes, post_scale, written
from lens.analysis.circuit_weights import constant_values, output_weights, read_through, write_through
from lens.analysis.direct_paths import final_scale
from lens.analysis.interventions.pairs import Pairs
from lens.analysis.names import Head, check_heads
from lens.analysis.random_tokens import sampling_set
from lens.analysis.stats import Estimate, estimate
from lens.arrays import as_tensor
from lens.components import Norm
from lens.finite import require_finite
from lens.hooked import HookedTransformer

Kind = Literal["logit", "logit_diff", "log_prob"]
KINDS = {
    "logit": "the logit of the right token",
    "logit_diff": "the logit of the right token minus that of the wrong one",
    "log_prob": "the log-probability of the right token, nats",
}
DEFINITION = (
    "What each part of the model adds to the number by itself: its write at the last position, through the final norm "
    "at the scale of that run, times the direction of the answer. All parts together are the model's own number."
)
DRAWS = 100  # random tokens that are asked about
OUTSIDE = ("final norm bias", "unembedding bias", "softcap", "minus entropy")  # parts that no layer writes


class Target(NamedTuple):
    """The number that is taken apart, at one position of each prompt."""

    kind: Kind
    pos: Int[Tensor, " prompt"]
    right: Int[Tensor, " prompt"]
    wrong: Int[Tensor, " prompt"] | None = None  # of a logit difference
    folded: bool = False  # logits minus their mean, the final norm's bias in the unembedding's: as of a folded model

    def check(self, model: HookedTransformer, n_prompts: int, n_pos: int) -> None:
        """ValueError for a target that these prompts do not have."""
        if self.kind not in KINDS:
            raise ValueError(f"Target: kind={self.kind!r}; it must be one of {', '.join(KINDS)}.")
        if (self.wrong is not None) != (self.kind == "logit_diff"):
            raise ValueError("Target: a logit difference needs the wrong tokens, and only it has them.")
        if why := why_not_folded(model, self):
            raise ValueError(f"Target: folded=True, but {why}; pass folded=False.")
        limits = {"pos": n_pos, "right": model.cfg.d_vocab, "wrong": model.cfg.d_vocab}
        for name, most in limits.items():
            value = getattr(self, name)
            if value is None:
                continue
            if value.shape != (n_prompts,) or not ((value >= 0) & (value < most)).all():
                raise ValueError(
                    f"Target: {name}={value.tolist()}; wanted one per prompt, {n_prompts}, in 0 … {most - 1}."
                )


def why_not_folded(model: HookedTransformer, target: Target) -> str:
    """Why a logit cannot be read above the mean of all; "" where it can, or where nobody asked."""
    if target.folded and target.kind == "logit" and model.cfg.final_softcap is not None:
        return "the logits are capped, so a constant shift matters"
    return ""


class DirectAttribution(NamedTuple):
    """One number of each prompt as a sum over ``writes`` and what stands outside of the layers."""

    value: Float[Tensor, " prompt"]  # the model's own, from its logits
    parts: Float[Tensor, "prompt part"]  # in its unit, logits or nats
    writes: tuple[Write, ...]

    @property
    def remainder(self) -> Float[Tensor, " prompt"]:
        """What the parts leave unexplained: rounding."""
        return as_tensor(self.value) - as_tensor(self.parts).sum(-1)

    def mean(self, seed: int = 0) -> Estimate:
        """Every part's mean over prompts, with its interval."""
        return estimate(as_tensor(self.parts), unit="prompts", seed=seed)

    def heads(self, n_layers: int, n_heads: int) -> Float[Tensor, "prompt layer head"]:
        """The parts of the heads as a grid."""
        at = [place for place, write in enumerate(self.writes) if write.kind == "head"]
        return as_tensor(self.parts)[:, at].unflatten(1, (n_layers, n_heads))


@torch.no_grad()
def direct_attribution(
    model: HookedTransformer,
    tokens: Int[Tensor, "prompt pos"],
    target: Target,
    mask: Bool[Tensor, "prompt pos"] | None = None,
) -> DirectAttribution:
    """Takes one number of each prompt apart: embedding, positions, heads, MLPs, biases, and what is not linear.

    The folded and the raw model give the same parts of heads and MLPs, up to what folding moves into biases.
    """
    tokens = tokens.to(model.device)
    target.check(model, *tokens.shape)
    found = _split(model, Writes(model, tokens, target.pos, mask), target)
    require_finite(model, tokens, found.parts, mask)
    return found


def _split(model: HookedTransformer, run: Writes, target: Target) -> DirectAttribution:
    read = _Read(model, run, target)
    writes, columns = [], []
    for labels, values in written(run, read.onto):
        writes += labels
        columns.append(values)
    outside = read.outside()
    writes += [Write(name) for name in OUTSIDE if name in outside]
    columns += [outside[name][:, None] for name in OUTSIDE if name in outside]
    return DirectAttribution(read.value.cpu(), torch.cat([one.cpu() for one in columns], 1), tuple(writes))


@torch.no_grad()
def asked_at_random(
    model: HookedTransformer, tokens: Int[Tensor, "1 pos"], target: Target, draws: int = DRAWS, seed: int = 0
) -> DirectAttribution:
    """The parts of one prompt when random tokens are asked about in place of the answers, a draw per row: the null.

    What a part does for any token it says nothing about this answer with. One run is read along all directions.
    """
    target.check(model, *tokens.shape)
    if len(tokens) != 1:
        raise ValueError(f"asked_at_random: {len(tokens)} prompts; wanted one.")
    run = Writes(model, tokens.to(model.device), target.pos, None).repeated(draws)
    return _split(model, run, _random_answers(model, target, draws, seed))


def _random_answers(model: HookedTransformer, target: Target, draws: int, seed: int) -> Target:
    """The same of random tokens, a draw per row, for one prompt."""
    generator, ids = torch.Generator().manual_seed(seed), sampling_set(model).ids
    right, wrong = (ids[torch.randint(len(ids), (draws,), generator=generator)] for _ in range(2))
    return target._replace(pos=target.pos.expand(draws), right=right, wrong=None if target.wrong is None else wrong)


@torch.no_grad()
def task_attribution(model: HookedTransformer, pairs: Pairs, side: str = "clean") -> DirectAttribution:
    """The first right answer against the first wrong one (its log-probability where there is none), pair by pair.

    Read at the last position of each prompt of ``side``. ValueError for pairs without answers.
    """
    if not pairs.answers:
        raise ValueError("task_attribution: these pairs have no answers to attribute; choose a task that has.")
    batch = pairs.side(side)
    right = torch.tensor([ids[0] for ids in pairs.answers])
    wrong = torch.tensor([ids[0] for ids in pairs.wrong]) if pairs.wrong else None
    target = Target("log_prob" if wrong is None else "logit_diff", batch.lengths - 1, right, wrong)
    return direct_attribution(model, batch.tokens, target, batch.mask)


class _Read:
    """The direction that an answer has in the stream before the final norm, and what lies beyond it."""

    def __init__(self, model: HookedTransformer, run: Writes, target: Target) -> None:
        self.model, self.target = model, target
        normed = model.ln_final(run.final.to(model.dtype))
        self.plain = self.capped = model.unembed(normed).float()
        if model.cfg.final_softcap is not None:
            self.plain = F.linear(normed, model.unembed.W_U.T, model.unembed.b_U).float()
        self.probs = self.capped.softmax(-1)
        self.value = self._number(self.capped)
        if target.kind == "log_prob":
            self.value = self.capped.log_softmax(-1).gather(-1, self._column(target.right))[:, 0]
        W_U = model.unembed.W_U.float()
        direction = W_U.T[target.right.to(W_U.device)]
        if target.kind == "logit_diff":
            direction = direction - W_U.T[target.wrong.to(W_U.device)]
        elif target.kind == "log_prob":
            direction = direction - self.probs @ W_U.T
        elif target.folded:
            direction = direction - W_U.mean(1)
        self.direction = direction
        self.onto = read_through(model.ln_final, direction.T).T / final_scale(model, run.final)

    def _column(self, ids: Tensor) -> Tensor:
        return ids.to(self.capped.device)[:, None]

    def _number(self, logits: Float[Tensor, "prompt d_vocab"]) -> Float[Tensor, " prompt"]:
        """The linear part of the target: what a direction reads of the logits."""
        right = logits.gather(-1, self._column(self.target.right))[:, 0]
        if self.target.kind == "logit":
            return right - logits.mean(-1) if self.target.folded else right
        if self.target.kind == "log_prob":
            return right - (self.probs * logits).sum(-1)
        return right - logits.gather(-1, self._column(self.target.wrong))[:, 0]

    def outside(self) -> dict[str, Float[Tensor, " prompt"]]:
        """The parts that no layer writes."""
        norm, unembed = self.model.ln_final, self.model.unembed
        parts = {}
        if isinstance(norm, Norm) and norm.centred:
            parts["final norm bias"] = self.direction @ norm.b.float()
        parts["unembedding bias"] = self._number(unembed.b_U.float().expand_as(self.plain))
        if self.target.folded:
            parts["unembedding bias"] = parts["unembedding bias"] + parts.pop("final norm bias", 0.0)
        if self.model.cfg.final_softcap is not None:
            parts["softcap"] = self._number(self.capped) - self._number(self.plain)
        if self.target.kind == "log_prob":
            parts["minus entropy"] = -torch.special.entr(self.probs).sum(-1)
        return parts


class SourceSplit(NamedTuple):
    """What one head adds to the answer from each token it looks at."""

    head: Head
    parts: Float[Tensor, "prompt key"]  # sums over keys to the head's part; 0 where it may not look


@torch.no_grad()
def source_split(
    model: HookedTransformer,
    tokens: Int[Tensor, "prompt pos"],
    target: Target,
    head: Head | tuple[int, int],
    mask: Bool[Tensor, "prompt pos"] | None = None,
) -> SourceSplit:
    """A head's part of the answer over its source tokens: A[q, k] times what the value at k adds, less its constant."""
    head, tokens = Head(*head), tokens.to(model.device)
    check_heads([head], model.cfg)
    target.check(model, *tokens.shape)
    pattern, v = (f"blocks.{head.layer}.attn.hook_{name}" for name in ("pattern", "v"))
    run = Writes(model, tokens, target.pos, mask, whole=(pattern, v))
    onto = _Read(model, run, target).onto
    rows, pos = (one.to(onto.device) for one in run.rows)
    values = run[v][:, :, head.head // model.cfg.group_size] - constant_values(model, head.layer)[head.head].to(onto)
    along = onto @ output_weights(model, head.layer)[head.head].to(onto.device).T
    added = einsum(values, along, "prompt key d_head, prompt d_head -> prompt key")
    parts = run[pattern][rows, head.head, pos] * added / post_scale(run, head.layer, "ln1_post")
    return SourceSplit(head, parts.cpu())


class TopNeurons(NamedTuple):
    """The neurons that push an answer most, by size, mean over prompts."""

    neurons: tuple[tuple[int, int], ...]  # (layer, neuron)
    parts: Float[Tensor, "prompt neuron"]
    n_neurons: int  # looked at


@torch.no_grad()
def neuron_attribution(
    model: HookedTransformer,
    tokens: Int[Tensor, "prompt pos"],
    target: Target,
    count: int = 20,
    mask: Bool[Tensor, "prompt pos"] | None = None,
) -> TopNeurons:
    """Activation times W_out · direction of every neuron at the position, the ``count`` largest means by size.

    W_out meets the direction first: a neuron's write is never formed. ValueError for a model without MLPs.
    """
    cfg, tokens = model.cfg, tokens.to(model.device)
    if cfg.attn_only:
        raise ValueError(f"{model.name} has attention layers only: there are no neurons.")
    target.check(model, *tokens.shape)
    posts = [f"blocks.{layer}.mlp.hook_post" for layer in range(cfg.n_layers)]
    run = Writes(model, tokens, target.pos, mask, also=posts)
    onto = _Read(model, run, target).onto
    every = torch.cat([run[post] * _neuron_reads(run, layer, onto) for layer, post in enumerate(posts)], 1)
    best = every.mean(0).abs().topk(min(count, every.shape[1])).indices
    return TopNeurons(tuple(divmod(at, cfg.d_mlp) for at in best.tolist()), every[:, best].cpu(), every.shape[1])


class NeuronPush(NamedTuple):
    """What one neuron adds to an answer directly, in its unit."""

    part: float
    at_random: Float[Tensor, " draw"]  # to random tokens in place of the answer: what it does for any


@torch.no_grad()
def neuron_push(
    model: HookedTransformer,
    tokens: Int[Tensor, "1 pos"],
    target: Target,
    layer: int,
    neuron: int,
    draws: int = DRAWS,
    seed: int = 0,
) -> NeuronPush:
    """One neuron's activation times W_out · direction, for the answer and for random tokens, read from one run."""
    check_neuron(model, layer, neuron)
    target.check(model, *tokens.shape)
    if len(tokens) != 1:
        raise ValueError(f"neuron_push: {len(tokens)} prompts; wanted one.")
    post = f"blocks.{layer}.mlp.hook_post"
    one = Writes(model, tokens.to(model.device), target.pos, None, also=[post])
    parts = []
    for run, asked in ((one, target), (one.repeated(draws), _random_answers(model, target, draws, seed))):
        reads = _neuron_reads(run, layer, _Read(model, run, asked).onto)
        parts.append((run[post] * reads)[:, neuron].cpu())
    return NeuronPush(float(parts[0]), parts[1])


def _neuron_reads(run: Writes, layer: int, onto: Tensor) -> Float[Tensor, "prompt neuron"]:
    """How far each neuron's activation moves the number."""
    block = run.model.blocks[layer]
    W_out = write_through(block.ln2_post, block.mlp.W_out).to(onto.device)
    return onto @ W_out.T / post_scale(run, layer, "ln2_post")
