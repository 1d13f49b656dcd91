"""How the published figures are computed, apart from the models they were published for."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from lens.compat.patching import get_act_patch_resid_pre

PRONOUNS = {"Mary": "she", "John": "he", "Tom": "he", "Dan": "he", "Amy": "she"}
FRAMES = ("a great friend", "an amazing person", "a fantastic colleague", "a wonderful partner", "an excellent student")


@torch.no_grad()
def last_logits(model: Any, prompt: str, prepend_bos: bool | None = None) -> Float[Tensor, " d_vocab"]:
    """Logits of the token after the prompt."""
    return model(model.to_tokens(prompt, prepend_bos=prepend_bos))[0, -1]


def probability(model: Any, prompt: str, answer: str) -> float:
    """Probability of a one-token answer after the prompt."""
    return last_logits(model, prompt).softmax(-1)[model.to_single_token(answer)].item()


def difference(model: Any, prompt: str, right: str, wrong: str, prepend_bos: bool | None = None) -> float:
    """Logit of one answer less that of another."""
    logits = last_logits(model, prompt, prepend_bos)
    return (logits[model.to_single_token(right)] - logits[model.to_single_token(wrong)]).item()


def pronoun_differences(model: Any) -> dict[tuple[str, str], float]:
    """Name and frame → logit of the fitting pronoun less that of the other, after "… is …, isn’t"."""
    other = {"she": " he", "he": " she"}
    return {
        (name, frame): difference(model, f"{name} is {frame}, isn’t", f" {pronoun}", other[pronoun])
        for name, pronoun in PRONOUNS.items()
        for frame in FRAMES
    }


@torch.no_grad()
def recovered(model: Any, clean: str, corrupted: str, right: str, wrong: str) -> Float[Tensor, "layer pos"]:
    """How much of the clean logit difference each clean piece of the stream brings back: 0 nothing, 1 all."""
    a, b = model.to_single_token(right), model.to_single_token(wrong)
    tokens, broken = model.to_tokens(clean), model.to_tokens(corrupted)
    logits, cache = model.run_with_cache(tokens)
    high, low = ((x[0, -1, a] - x[0, -1, b]) for x in (logits, model(broken)))
    return get_act_patch_resid_pre(model, broken, cache, lambda x: (x[0, -1, a] - x[0, -1, b] - low) / (high - low))


@torch.no_grad()
def loss_without_values(model: Any, text: str, layer: int, head: int) -> float:
    """Loss on a text while the values of one head are zero."""

    def silence(v: Tensor, hook: Any) -> None:
        v[:, :, head] = 0

    name = f"blocks.{layer}.attn.hook_v"
    return model.run_with_hooks(text, return_type="loss", fwd_hooks=[(name, silence)]).item()


def stripe(pattern: Float[Tensor, "batch head query key"], n: int) -> Float[Tensor, " head"]:
    """Prefix-matching score on [BOS][n][n]: weight from the second copy to what came after the same token before."""
    # Entry j of this diagonal is query n − 1 + j, key j; the second copy begins at query n + 1.
    return pattern.diagonal(1 - n, dim1=-2, dim2=-1)[..., 2:].mean((0, -1))


@torch.no_grad()
def repeated(model: Any, n: int = 50, n_seqs: int = 16) -> tuple[Float[Tensor, "layer head"], float, float]:
    """Prefix-matching scores, and the loss on the first and on the second copy, on [BOS][rand 50][rand 50]."""
    random = torch.randint(1000, 20_000, (n_seqs, n), generator=torch.Generator().manual_seed(0))
    tokens = torch.cat([torch.full((n_seqs, 1), model.bos.id), random, random], dim=1)
    loss, cache = model.run_with_cache(
        tokens, return_type="loss", loss_per_token=True, names_filter=lambda name: name.endswith("hook_pattern")
    )
    scores = torch.stack([stripe(cache["pattern", layer], n) for layer in range(model.cfg.n_layers)])
    return scores, loss[:, :n].mean().item(), loss[:, n + 1 :].mean().item()


@torch.no_grad()
def copying(model: Any) -> tuple[Float[Tensor, "layer head"], Float[Tensor, "layer head"]]:
    """Σλ / Σ|λ| of OV alone, and of OV between embedding and unembedding."""
    middle = model.W_U @ model.W_E
    alone, full = model.OV.eigenvalues, torch.linalg.eigvals(model.W_O @ middle @ model.W_V)
    return tuple(values.sum(-1).real / values.abs().sum(-1) for values in (alone, full))
