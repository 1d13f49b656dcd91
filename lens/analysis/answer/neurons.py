"""Neurons: where one fires in the shipped text, and which tokens its weights read and write.

Activation is what meets W_out: after the nonlinearity, of a gated MLP the product, after a norm where there is one.
"""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lens.analysis.circuit_weights import read_through, vocabulary_rows, write_through
from lens.analysis.held_out import beginnings
from lens.analysis.stats import Estimate, estimate
from lens.analysis.streaming import stream
from lens.arrays import as_tensor
from lens.components import Norm
from lens.finite import require_finite
from lens.hooked import HookedTransformer
from lens.hooks import HookPoint, hooks
from lens.model import Transformer
from lens.progress import Progress, silent
from lens.texts import UNIT

ACTIVATION = (
    "What meets W_out: the activation after the nonlinearity; of a gated MLP the product with the gate; after the norm "
    "where the MLP has one."
)
OUTPUT = (
    "W_out of the neuron through the final norm's gain and W_U, minus the mean over the vocabulary: what its "
    "activation adds to each logit, up to the norm's scale."
)
INPUT = (
    "The embedding of each token through the gain of the MLP's norm and the neuron's input weights, minus the mean "
    "over the vocabulary: what would excite it in a stream that held the token alone, up to the norm's scale."
)
DECILES = 10


class TextStreams(NamedTuple):
    """What the MLP of one layer reads in the shipped text."""

    tokens: Int[Tensor, "chapter pos"]
    counted: Bool[Tensor, "chapter pos"]  # real tokens but the first of each chapter
    stream: Float[Tensor, "chapter pos d_model"]


class Activity(NamedTuple):
    """How one neuron fires over the shipped text."""

    n: int  # tokens
    largest: float
    active: Estimate  # share of a chapter's tokens with an activation above zero, mean over chapters
    mean: Estimate  # activation
    edges: Float[np.ndarray, " edge"]  # of the ten deciles, 11 of them


class Context(NamedTuple):
    """One token at which a neuron was looked at."""

    chapter: int
    pos: int
    value: float


class TokenWeights(NamedTuple):
    """The tokens that a neuron's weights name most, both ways."""

    high: Int[Tensor, " k"]
    high_value: Float[Tensor, " k"]
    low: Int[Tensor, " k"]
    low_value: Float[Tensor, " k"]


def check_neuron(model: Transformer, layer: int, neuron: int) -> None:
    """ValueError where the model has no such neuron."""
    cfg = model.cfg
    if cfg.attn_only:
        raise ValueError(f"{model.name} has attention layers only: there are no neurons.")
    if not (0 <= layer < cfg.n_layers and 0 <= neuron < cfg.d_mlp):
        raise ValueError(
            f"There is no neuron {layer}.{neuron}: this model has layers 0–{cfg.n_layers - 1} with neurons "
            f"0–{cfg.d_mlp - 1}."
        )


@torch.no_grad()
def layer_activations(model: Transformer, tokens: Int[Tensor, "1 pos"], layer: int) -> Float[Tensor, "pos neuron"]:
    """Activations of all neurons of a layer on one text."""
    check_neuron(model, layer, 0)
    kept: list[Tensor] = []
    with hooks(model, [(f"blocks.{layer}.mlp.hook_post", lambda x, hook: kept.append(x[0]))], writes=False):
        model(tokens.to(model.device), stop_at_layer=layer + 1)
    require_finite(model, tokens.to(model.device), kept[0], what="activations")
    return kept[0].float().cpu()


@torch.no_grad()
def text_streams(
    model: HookedTransformer, layer: int, n_texts: int, length: int, progress: Progress = silent
) -> TextStreams:
    """What the MLP of ``layer`` reads at the beginnings of ``n_texts`` shipped chapters: any of its neurons follows."""
    check_neuron(model, layer, 0)
    text = beginnings(model, n_texts, model.bos.prepend, length)
    kept = torch.zeros(*text.tokens.shape, model.cfg.d_model)

    def visit(_: int, rows: slice, x: Float[Tensor, "batch pos d_model"]) -> None:
        kept[rows] = x.float().cpu()

    name = "resid_pre" if model.cfg.parallel else "resid_mid"
    stream(model, text.tokens, {f"blocks.{layer}.hook_{name}": visit}, text.mask, progress)
    counted = text.mask.bool().clone()
    counted[:, 0] = False
    return TextStreams(text.tokens, counted, kept)


@torch.no_grad()
def neuron_on_text(model: Transformer, streams: TextStreams, layer: int, neuron: int) -> Float[Tensor, "chapter pos"]:
    """One neuron's activation at every token; exact, a chapter at a time, so that nothing larger is held."""
    check_neuron(model, layer, neuron)
    block, out = model.blocks[layer], []

    def keep(post: Float[Tensor, "1 pos d_mlp"], hook: HookPoint) -> None:
        out.append(post[0, :, neuron].float().cpu())

    with hooks(model, [(f"blocks.{layer}.mlp.hook_post", keep)], writes=False):
        for chapter in streams.stream:
            block.mlp(block.ln2(chapter[None].to(block.device, model.dtype)))
    return torch.stack(out)


def activity(values: Float[Tensor, "chapter pos"], counted: Bool[Tensor, "chapter pos"], seed: int = 0) -> Activity:
    """How often and how strongly it fires; the chapter is the unit of the intervals."""
    values, counted = (as_tensor(np.asarray(one)) for one in (values, counted))
    n = counted.sum(1)
    some = values.masked_fill(~counted, 0)
    active, mean = ((one * counted).sum(1) / n for one in ((values > 0).float(), some))
    kept = values[counted]
    edges = np.quantile(kept.double().numpy(), np.linspace(0, 1, DECILES + 1))
    return Activity(
        len(kept),
        float(kept.max()),
        estimate(active, unit=UNIT, seed=seed),
        estimate(mean, unit=UNIT, seed=seed),
        edges,
    )


def top_contexts(values: Float[Tensor, "chapter pos"], counted: Bool[Tensor, "chapter pos"], k: int) -> list[Context]:
    """The ``k`` tokens at which it fires most, exactly; the largest first, ties in the order of the text."""
    places = _sorted_places(values, counted)[::-1][:k]
    return [Context(chapter, pos, float(values[chapter, pos])) for chapter, pos in places]


def low_contexts(values: Float[Tensor, "chapter pos"], counted: Bool[Tensor, "chapter pos"], k: int) -> list[Context]:
    """The ``k`` tokens with its smallest activations, exactly; the smallest first. A gated neuron writes there too."""
    places = _sorted_places(-np.asarray(values), counted)[::-1][:k]
    return [Context(chapter, pos, float(values[chapter, pos])) for chapter, pos in places]


def decile_contexts(
    values: Float[Tensor, "chapter pos"], counted: Bool[Tensor, "chapter pos"], per_decile: int, seed: int = 0
) -> list[list[Context]]:
    """Tokens drawn at random from each tenth of the activations, the lowest tenth first: the top alone misleads."""
    places, random = _sorted_places(values, counted), np.random.default_rng(seed)
    tenths = np.array_split(np.arange(len(places)), DECILES)
    return [
        [
            Context(*places[i], float(values[places[i]]))
            for i in sorted(random.choice(tenth, min(per_decile, len(tenth)), replace=False))[::-1]
        ]
        for tenth in tenths
    ]


def _sorted_places(values: Tensor, counted: Tensor) -> list[tuple[int, int]]:
    """(chapter, pos) of all counted tokens, the smallest activation first; ties in reverse order of the text."""
    values, counted = np.asarray(values), np.asarray(counted)
    places = np.argwhere(counted)[::-1]
    order = np.argsort(values[tuple(places.T)], kind="stable")
    return [tuple(place) for place in places[order].tolist()]


@torch.no_grad()
def output_tokens(model: HookedTransformer, layer: int, neuron: int, k: int = 15) -> TokenWeights:
    """Tokens whose logits the neuron raises and lowers most; see ``OUTPUT``."""
    check_neuron(model, layer, neuron)
    block, norm = model.blocks[layer], model.ln_final
    write = write_through(block.ln2_post, block.mlp.W_out[neuron])
    read = norm.centre(write) * norm.w.to(write) if isinstance(norm, Norm) else write
    logits = (read.to(model.W_U.device) @ model.W_U.to(read.dtype)).float()
    return _extremes(logits - logits.mean(), k)


@torch.no_grad()
def input_tokens(
    model: HookedTransformer, layer: int, neuron: int, k: int = 15, gate: bool = False, progress: Progress = silent
) -> TokenWeights:
    """Tokens whose embeddings excite and silence the neuron most; see ``INPUT``. ``gate``: by its gate weights.

    ValueError for the gate of an MLP that has none.
    """
    check_neuron(model, layer, neuron)
    mlp = model.blocks[layer].mlp
    if gate and not mlp.gated:
        raise ValueError(f"input_tokens: gate=True, and the MLPs of {model.name} have no gate.")
    weight = (mlp.W_gate if gate else mlp.W_in)[:, neuron, None]
    read = read_through(model.blocks[layer].ln2, weight)[:, 0]
    scores = torch.empty(model.cfg.d_vocab)
    for ids, rows in vocabulary_rows(model, progress=progress):
        scores[ids] = (rows.to(read) @ read).float().cpu()
    return _extremes(scores - scores.mean(), k)


def _extremes(scores: Float[Tensor, " d_vocab"], k: int) -> TokenWeights:
    k = min(k, len(scores))
    high, low = scores.topk(k), scores.topk(k, largest=False)
    return TokenWeights(high.indices.cpu(), high.values.cpu(), low.indices.cpu(), low.values.cpu())
