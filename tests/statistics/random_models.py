"""Models in which there is nothing to find: random weights of several shapes, by seed.

``initial`` weights are those a library starts training from; ``shaken`` ones have biases and gains that differ and
attention that is far from flat.
"""

from collections.abc import Iterator
from functools import partial

import torch

from lens import HookedTransformer
from lens.config import Config
from lens.planted.weights import build
from lens.tokens import BosPolicy

SIZE = {"n_layers": 2, "n_heads": 4, "d_model": 32, "d_head": 8, "d_mlp": 48, "d_vocab": 128, "n_ctx": 128}
GPT2 = SIZE
LLAMA = SIZE | {"n_kv_heads": 2, "norm": "RMS", "act_fn": "silu", "gated_mlp": True, "positions": "rotary"}
SEEDS = range(40)
BOS = BosPolicy(0, "<bos>", True, "the tests put it there")


def random_model(shape: dict, shake: float, seed: int) -> HookedTransformer:
    """Weights as PyTorch draws them, each moved by ``shake`` * randn."""
    torch.manual_seed(seed)
    model = HookedTransformer(Config(**shape), bos=BOS, name=f"random-{seed}")
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(std=0.02 if shake == 0 else parameter.shape[-1] ** -0.5)
            parameter.add_(shake * torch.randn_like(parameter))
    return model.eval()


def planted_random(seed: int) -> HookedTransformer:
    """planted-random, drawn anew."""
    cfg, state = build("planted-random", 1000 + seed)
    model = HookedTransformer(cfg, bos=BOS, name=f"planted-random-{seed}")
    model.load_state_dict(state)
    return model.eval()


KINDS = {
    "gpt2-initial": partial(random_model, GPT2, 0.0),
    "gpt2-shaken": partial(random_model, GPT2, 0.2),
    "llama-initial": partial(random_model, LLAMA, 0.0),
    "llama-shaken": partial(random_model, LLAMA, 0.2),
    "planted-random": planted_random,
}


def models(kind: str, seeds: range = SEEDS) -> Iterator[HookedTransformer]:
    """One model a seed."""
    for seed in seeds:
        yield KINDS[kind](seed)
