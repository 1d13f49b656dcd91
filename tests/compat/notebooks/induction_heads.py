# The opening of many notebooks: attention patterns, induction scores, ablation, and a cache of repeated tokens.
from lens import compat; compat.install()
from functools import partial

import einops
import numpy as np
import torch
import transformer_lens.utils as utils
from transformer_lens import ActivationCache, FactoredMatrix, HookedTransformer
from transformer_lens.hook_points import HookPoint

torch.set_grad_enabled(False)
device = utils.get_device()
model = HookedTransformer.from_pretrained(
    MODEL, center_unembed=False, center_writing_weights=False, fold_ln=False, fold_value_biases=False,
    refactor_factored_attn_matrices=False, device="cpu",
)
print(model.cfg)

text = "The cat sat on the mat. The mat sat on the cat."
tokens = model.to_tokens(text)
logits, cache = model.run_with_cache(tokens, remove_batch_dim=True)
assert isinstance(cache, ActivationCache)
for layer in range(model.cfg.n_layers):
    pattern = cache["pattern", layer]
    assert pattern.shape == (model.cfg.n_heads, tokens.shape[1], tokens.shape[1])
    assert torch.equal(pattern, cache["blocks." + str(layer) + ".attn.hook_pattern"])
    for head in range(model.cfg.n_heads):
        current = pattern[head].diagonal().mean()
        previous = pattern[head].diagonal(-1).mean()
str_tokens = model.to_str_tokens(text)


def generate_repeated_tokens(model, seq_len, batch=1):
    prefix = (torch.ones(batch, 1) * model.tokenizer.bos_token_id).long()
    rep_tokens_half = torch.randint(0, model.cfg.d_vocab, (batch, seq_len), dtype=torch.int64)
    return torch.cat([prefix, rep_tokens_half, rep_tokens_half], dim=-1).to(model.cfg.device)


seq_len, batch = 12, 4
torch.manual_seed(0)
rep_tokens = generate_repeated_tokens(model, seq_len, batch)
induction_score_store = torch.zeros((model.cfg.n_layers, model.cfg.n_heads), device=model.cfg.device)


def induction_score_hook(pattern, hook: HookPoint):
    induction_stripe = pattern.diagonal(dim1=-2, dim2=-1, offset=1 - seq_len)
    induction_score_store[hook.layer(), :] = einops.reduce(induction_stripe, "batch head position -> head", "mean")


pattern_hook_names_filter = lambda name: name.endswith("pattern")
model.run_with_hooks(rep_tokens, return_type=None, fwd_hooks=[(pattern_hook_names_filter, induction_score_hook)])


def head_zero_ablation_hook(z, hook, head_index_to_ablate):
    z[:, :, head_index_to_ablate, :] = 0.0


ablation_scores = torch.zeros((model.cfg.n_layers, model.cfg.n_heads))
model.reset_hooks()
loss_no_ablation = model(rep_tokens, return_type="loss")
for layer in range(model.cfg.n_layers):
    for head in range(model.cfg.n_heads):
        temp_hook_fn = partial(head_zero_ablation_hook, head_index_to_ablate=head)
        ablated_loss = model.run_with_hooks(
            rep_tokens, return_type="loss", fwd_hooks=[(utils.get_act_name("z", layer), temp_hook_fn)]
        )
        ablation_scores[layer, head] = ablated_loss - loss_no_ablation

model.add_hook(utils.get_act_name("z", 0), partial(head_zero_ablation_hook, head_index_to_ablate=1))
loss_with_added_hook = model(rep_tokens, return_type="loss")
model.reset_hooks()
loss_after_reset = model(rep_tokens, return_type="loss")

# Direct logit attribution of the last position.
logits, cache = model.run_with_cache(tokens)
per_token_loss = model(tokens, return_type="loss", loss_per_token=True)
assert utils.to_numpy(per_token_loss).shape == (1, tokens.shape[1] - 1)

# Copying scores: the eigenvalues of the full OV circuit.
OV = FactoredMatrix(model.W_V[0], model.W_O[0])
full_OV = model.W_E @ OV @ model.W_U
assert full_OV.shape == (model.cfg.n_heads, model.cfg.d_vocab, model.cfg.d_vocab)
eigenvalues = full_OV.eigenvalues
copying = eigenvalues.sum(-1).real / eigenvalues.abs().sum(-1)
q_scores = model.all_composition_scores("Q")
