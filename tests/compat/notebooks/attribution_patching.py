# Gradients of a metric with respect to every activation, collected by hooks that are added and reset.
from lens import compat; compat.install()
import torch
from transformer_lens import HookedTransformer, ActivationCache
import transformer_lens.utils as utils

torch.set_grad_enabled(True)
model = HookedTransformer.from_pretrained_no_processing(MODEL, device="cpu")
clean_tokens = model.to_tokens("When Mary and John went to the store, John gave a drink to")
corrupted_tokens = model.to_tokens("When John and Mary went to the store, Mary gave a drink to")
metric = lambda logits: logits[0, -1, 7] - logits[0, -1, 8]
filter_not_qkv_input = lambda name: "_input" not in name


def get_cache_fwd_and_bwd(model, tokens, metric):
    model.reset_hooks()
    cache = {}
    def forward_cache_hook(act, hook):
        cache[hook.name] = act.detach()
    model.add_hook(filter_not_qkv_input, forward_cache_hook, "fwd")

    grad_cache = {}
    def backward_cache_hook(act, hook):
        grad_cache[hook.name] = act.detach()
    model.add_hook(filter_not_qkv_input, backward_cache_hook, "bwd")

    value = metric(model(tokens))
    value.backward()
    model.reset_hooks()
    return value.item(), ActivationCache(cache, model), ActivationCache(grad_cache, model)


clean_value, clean_cache, clean_grad_cache = get_cache_fwd_and_bwd(model, clean_tokens, metric)
corrupted_value, corrupted_cache, corrupted_grad_cache = get_cache_fwd_and_bwd(model, corrupted_tokens, metric)
last = model.cfg.n_layers - 1
name = ("resid_post", last)
attribution = (corrupted_grad_cache[name] * (clean_cache[name] - corrupted_cache[name])).sum((-1, -2))
embed_gradient = clean_grad_cache["hook_embed"].clone()
