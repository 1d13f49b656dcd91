"""Tiny shaken models: no bias is 0, no gain is 1, and attention is far from flat."""

import torch

from lens.config import Config
from lens.hooked import HookedTransformer
from lens.tokens import BosPolicy

SIZES = {"n_layers": 3, "n_heads": 4, "d_model": 32, "d_head": 8, "d_mlp": 24, "d_vocab": 97, "n_ctx": 64}
GROUPED = {"n_kv_heads": 2, "norm": "RMS", "act_fn": "silu", "gated_mlp": True, "positions": "rotary"}


def make_model(tokenizer=None, seed=0, **sizes) -> HookedTransformer:
    torch.manual_seed(seed)
    bos = BosPolicy(0, "<bos>", True, "a test")
    model = HookedTransformer(Config(**(SIZES | sizes)), tokenizer=tokenizer, bos=bos, name="shaken")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.2 * torch.randn_like(parameter)
        for block in model.blocks:
            block.attn.W_Q *= 3
    return model.eval()
