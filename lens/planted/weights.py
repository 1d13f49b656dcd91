"""The weights of the planted models. What each dimension means stands in :mod:`lens.planted.layout`."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from lens.config import Config
from lens.model import Transformer
from lens.planted import layout as at
from lens.planted.plants import plant
from lens.process import READERS

SEED = 7_654_321  # of dust, idle heads and planted-random; no seed that tests use: equal numbers are not independent
SHAPE = {
    "n_layers": at.N_LAYERS,
    "n_heads": at.N_HEADS,
    "d_model": at.D_MODEL,
    "d_head": at.D_HEAD,
    "d_vocab": at.D_VOCAB,
    "n_ctx": at.N_CTX,
}
BARE = Config(**SHAPE, norm=None)
NORMED = Config(**SHAPE, norm="RMS", pre_norm=False)  # a norm before the unembedding, none before attention
TOKENS = torch.arange(1, at.D_VOCAB)  # BOS is neither looked for nor copied


class Head(NamedTuple):
    """The weights of one head, all zero at first; written in place."""

    W_Q: Tensor
    W_K: Tensor
    W_V: Tensor
    W_O: Tensor
    b_Q: Tensor


def build(name: str, seed: int = SEED) -> tuple[Config, dict[str, Tensor]]:
    """Structure and float32 weights of a planted model; the same bits at every call with the same ``seed``."""
    plant(name)
    if name == "planted-random":
        return BARE, _random_like(BARE, build("planted-induction")[1], seed)
    cfg = NORMED if name == "planted-redundant" else BARE
    generator = torch.Generator().manual_seed(seed)
    model = _empty(cfg)
    heads = {(layer, head): _head(model, layer, head) for layer in range(cfg.n_layers) for head in range(cfg.n_heads)}
    planted = {at.PREVIOUS: previous_token, at.DUPLICATE: duplicate_token, **_PLANTED[name]}
    for place, head in heads.items():
        planted.get(place, lambda head: _idle(head, generator))(head)
        head.W_O.add_(at.DUST * torch.randn(head.W_O.shape, generator=generator))
    return cfg, {name: _stored(name, weight) for name, weight in model.state_dict().items()}


def previous_token(head: Head) -> None:
    """Looks one back, and writes the token it finds into BEFORE."""
    _look_back(head, 1)
    _copy(head, at.BEFORE, 1.0, first=0)


def duplicate_token(head: Head) -> None:
    """Looks at every occurrence of its token, itself included: half on each of two. Writes nothing but dust."""
    _match(head, at.TOKEN)
    _read_tokens(head)


def induction(head: Head, writes: slice = at.OUT, strength: float = at.COPY) -> None:
    """Looks where the token before is its own, else at position 0; writes the token it finds, ``strength`` times."""
    _match(head, at.BEFORE)
    root = (8 * at.REST) ** 0.5
    head.W_K[at.FIRST, 0] = head.b_Q[0] = root  # slot 0 is BOS's, which is never looked for
    _copy(head, writes, strength)


def offset(head: Head) -> None:
    """Looks ``DISTANCE`` back, where that exists, else at position 0; writes the token it finds, COPY times."""
    _look_back(head, at.DISTANCE)
    # One digit of two may agree by accident, with a score of MATCH: resting must score more.
    head.W_K[at.FIRST, -1] = head.W_Q[at.TOO_EARLY, -1] = (8 * 2 * at.MATCH) ** 0.5
    _copy(head, at.OUT, at.COPY)


def _decoy(head: Head) -> None:
    induction(head, writes=at.BEFORE)


def _anticopy(head: Head) -> None:
    induction(head, strength=-at.COPY)


def _twin(head: Head) -> None:
    induction(head, strength=at.TWIN)


_PLANTED: dict[str, dict[tuple[int, int], Callable[[Head], None]]] = {
    "planted-induction": {at.INDUCTION: induction},
    "planted-decoy": {at.INDUCTION: _decoy},
    "planted-offset": {at.INDUCTION: offset},
    "planted-anticopy": {at.INDUCTION: _anticopy},
    "planted-redundant": {at.INDUCTION: _twin, at.SECOND: _twin},
}


def _empty(cfg: Config) -> Transformer:
    """Embeddings and unembedding in their places, heads without weights."""
    model = Transformer(cfg).requires_grad_(False)
    for parameter in model.parameters():
        parameter.zero_()
    token, position = torch.arange(at.D_VOCAB), torch.arange(at.N_CTX)
    model.embed.W_E[token, at.TOKEN.start + token] = 1
    model.unembed.W_U[at.OUT.start + token, token] = 1
    W_pos = model.pos_embed.W_pos
    W_pos[position, at.LOW.start + position % at.BASE] = 1
    W_pos[position, at.HIGH.start + position // at.BASE] = 1
    for back, place in at.HIGH_BACK.items():
        has = position[back:]
        W_pos[has, place.start + (has - back) // at.BASE] = 1
    W_pos[0, at.FIRST] = 1
    W_pos[: at.DISTANCE, at.TOO_EARLY] = 1
    if cfg.norm is not None:
        model.ln_final.w.fill_(at.GAIN)
    return model


def _head(model: Transformer, layer: int, head: int) -> Head:
    attn = model.blocks[layer].attn
    return Head(*(getattr(attn, name)[head] for name in Head._fields))


def _look_back(head: Head, back: int) -> None:
    """Score MATCH for each digit of the key's position that is the one of the query's position minus ``back``."""
    root, low = (8 * at.MATCH) ** 0.5, torch.arange(at.BASE)  # scores are divided by √d_head = 8
    high = torch.arange(at.N_CTX // at.BASE)
    head.W_Q[at.LOW.start + (low + back) % at.BASE, low] = root
    head.W_K[at.LOW.start + low, low] = root
    head.W_Q[at.HIGH_BACK[back].start + high, at.BASE + high] = root
    head.W_K[at.HIGH.start + high, at.BASE + high] = root


def _match(head: Head, keys: slice) -> None:
    """Score MATCH for keys that hold in ``keys`` the token that the query holds in TOKEN."""
    head.W_Q[at.TOKEN.start + TOKENS, TOKENS] = (8 * at.MATCH) ** 0.5
    head.W_K[keys.start + TOKENS, TOKENS] = (8 * at.MATCH) ** 0.5


def _read_tokens(head: Head, first: int = 1) -> Tensor:
    tokens = torch.arange(first, at.D_VOCAB)
    head.W_V[at.TOKEN.start + tokens, tokens] = 1
    return tokens


def _copy(head: Head, writes: slice, strength: float, first: int = 1) -> None:
    """Write the attended token into ``writes``; tokens below ``first`` are left out."""
    tokens = _read_tokens(head, first)
    head.W_O[tokens, writes.start + tokens] = strength


def _idle(head: Head, generator: torch.Generator) -> None:
    """A head that nobody planted: Gaussian queries, keys and values; it writes nothing but dust."""
    for weight in (head.W_Q, head.W_K, head.W_V):
        weight.copy_(0.8 / at.D_MODEL**0.5 * torch.randn(weight.shape, generator=generator))


def _random_like(cfg: Config, state: dict[str, Tensor], seed: int) -> dict[str, Tensor]:
    """Gaussian weights with the Frobenius norm of every tensor of ``state``."""
    generator = torch.Generator().manual_seed(seed)
    drawn = {name: torch.randn(value.shape, generator=generator) for name, value in state.items()}
    scaled = {name: drawn[name] * (value.norm() / drawn[name].norm()) for name, value in state.items()}
    return {name: _stored(name, weight) for name, weight in scaled.items()}


def _stored(name: str, weight: Tensor) -> Tensor:
    """``weight`` in the memory order that the forward reads without re-arranging."""
    return weight.mT.contiguous().mT if name.endswith(READERS) else weight
