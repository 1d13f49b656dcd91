"""Neel Nanda's toy repositories as they are on the Hub, in both layouts, with tiny shaken models."""

import json
from pathlib import Path

import torch

from lens import HookedTransformer
from lens.families.toy import toy_config

SIZE = {"n_layers": 2, "n_heads": 4, "d_model": 24, "d_head": 6, "n_ctx": 64}
NEW = {"attn_only": True, "act_fn": "solu_ln", "normalization": "LN", "d_mlp": 96}
OLD = {"attn_only": False, "act_fn": "solu_ln", "normalization_type": "LN", "d_mlp": 96, "final_rms": True}
TOKENIZER = "NeelNanda/gpt-neox-tokenizer-digits"


def toy(config: dict, seed: int = 0) -> HookedTransformer:
    """A shaken model of that config."""
    torch.manual_seed(seed)
    model = HookedTransformer(toy_config(config))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
            if name == "unembed.b_U":
                parameter.zero_()
    return model.eval()


def saved(model: HookedTransformer, old: bool, dtype: torch.dtype = torch.float32) -> dict[str, torch.Tensor]:
    """The state dict as the training code wrote it: buffers, no unembed bias; the oldest turned and renamed."""
    state = {}
    for name, tensor in model.state_dict().items():
        if name == "unembed.b_U":
            continue
        theirs = name.replace("ln_final", "norm").replace("ln", "norm") if old else name
        state[theirs] = (tensor.mT if old and "W_" in name else tensor).contiguous().to(dtype)
    for layer in range(model.cfg.n_layers):
        state[f"blocks.{layer}.attn.mask"] = torch.ones(64, 64).tril().bool()
        state[f"blocks.{layer}.attn.IGNORE"] = torch.tensor(-1e5)
    return state


def new_repository(folder: Path, d_vocab: int, labels: tuple[int, ...] = (), dtype: torch.dtype = torch.float32):
    """``Attn_Only_2L512W_C4_Code`` in small, with checkpoints. Its models by label, the final one under None."""
    config = {**SIZE, **NEW, "d_vocab": d_vocab, "tokenizer_name": TOKENIZER}
    return _write(folder, config, "model_final.pth", "tokens_{:0>12}.pth", labels, dtype)


def old_repository(folder: Path, d_vocab: int, labels: tuple[int, ...] = (), dtype: torch.dtype = torch.float32):
    """``SoLU_2L_v10_old`` in small."""
    config = {**SIZE, **OLD, "d_vocab": d_vocab, "tokenizer_name": "EleutherAI/gpt-neox-20b"}
    return _write(folder, config, "SoLU_2L_v10_final.pth", "SoLU_2L_v10_{:0>6}.pth", labels, dtype)


def _write(folder, config, final, pattern, labels, dtype):
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config))
    models = {}
    for seed, label in enumerate((None, *labels)):
        models[label] = toy(config, seed)
        path = folder / final if label is None else folder / "checkpoints" / pattern.format(label)
        torch.save(saved(models[label], final.startswith("SoLU"), dtype), path)
    return models
