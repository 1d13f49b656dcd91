"""Neurons for a planted model: the plants are attention alone, so those that are asked for neurons get an MLP."""

from dataclasses import replace

import torch
from torch import Tensor

from lens.config import Config
from lens.planted import layout as at


def with_neurons(cfg: Config, state: dict[str, Tensor]) -> tuple[Config, dict[str, Tensor]]:
    """The same model with one neuron per token in its last layer: it fires on what is written into OUT for its token.

    Neuron t has the activation relu(x[OUT][t] − THRESHOLD) and writes that into OUT at t again. Layer 0 has as many
    that never fire and write nothing.
    """
    sizes, last = {"d_mlp": at.D_VOCAB, "act_fn": "relu"}, cfg.n_layers - 1
    one_hot = torch.zeros(cfg.d_model, at.D_VOCAB)
    token = torch.arange(at.D_VOCAB)
    one_hot[at.OUT.start + token, token] = 1
    added = {}
    for layer in range(cfg.n_layers):
        write = one_hot if layer == last else torch.zeros_like(one_hot)
        added |= {
            f"blocks.{layer}.mlp.W_in": write.clone(),
            f"blocks.{layer}.mlp.b_in": torch.full((at.D_VOCAB,), -at.THRESHOLD),
            f"blocks.{layer}.mlp.W_out": write.T.contiguous(),
            f"blocks.{layer}.mlp.b_out": torch.zeros(cfg.d_model),
        }
    return replace(cfg, **sizes), state | added
