"""A small training run on disk: shaken models whose weights move from checkpoint to checkpoint."""

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from tests.helpers import hf_gpt2
from tests.load.models import save

STEPS = (0, 10, 40, 100, 400)


def write_run(folder: Path, tokenizer, steps=STEPS, **changes) -> Path:
    """``folder`` with a checkpoint-{step} of a GPT-2 of two layers for each of ``steps``."""
    for number, step in enumerate(steps):
        torch.manual_seed(number)  # the first weights, too, are the same each time
        model = hf_gpt2(**{"vocab_size": len(tokenizer), "n_layer": 2, "n_positions": 64, **changes})
        with torch.no_grad():
            for i, parameter in enumerate(model.parameters()):
                noise = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(i))
                parameter.add_(0.05 * number * noise)
        save(model, folder / f"checkpoint-{step}", tokenizer)
    return folder


def spoil(folder: Path, step: int, name: str = "transformer.h.1.mlp.c_fc.weight") -> None:
    """Put a NaN into one weight of a checkpoint on disk."""
    file = folder / f"checkpoint-{step}" / "model.safetensors"
    weights = load_file(file)
    weights[name][0, 0] = torch.nan
    save_file(weights, file, {"format": "pt"})
