# Logit lens, direct logit attribution and activation patching on a pair of prompts.
from lens import compat; compat.install()
import torch
from functools import partial
from transformer_lens import HookedTransformer, ActivationCache, utils
import transformer_lens.patching as patching

torch.set_grad_enabled(False)
model = HookedTransformer.from_pretrained_no_processing(MODEL, device="cpu")
model.set_use_attn_result(True)

example_prompt = "After John and Mary went to the store, John gave a drink to"
utils.test_prompt(example_prompt, " Mary", model, prepend_bos=True)

prompts = ["When Mary and John went to the store, John gave a drink to", "When John and Mary went to the store, Mary gave a drink to"]
answers = [(" M", " J"), (" J", " M")]
answer_tokens = torch.tensor([[model.to_tokens(a, prepend_bos=False)[0, -1].item() for a in pair] for pair in answers])
tokens = model.to_tokens(prompts, prepend_bos=True)
original_logits, cache = model.run_with_cache(tokens)


def logits_to_ave_logit_diff(logits, answer_tokens, per_prompt=False):
    final_logits = logits[:, -1, :]
    answer_logits = final_logits.gather(dim=-1, index=answer_tokens)
    answer_logit_diff = answer_logits[:, 0] - answer_logits[:, 1]
    return answer_logit_diff if per_prompt else answer_logit_diff.mean()


original_average_logit_diff = logits_to_ave_logit_diff(original_logits, answer_tokens)
per_prompt = logits_to_ave_logit_diff(original_logits, answer_tokens, per_prompt=True)

residual_stack, labels = cache.accumulated_resid(layer=-1, incl_mid=True, pos_slice=-1, return_labels=True, apply_ln=True)
logit_lens = residual_stack @ model.W_U + model.b_U
answer_residual_directions = model.tokens_to_residual_directions(answer_tokens)
logit_diff_directions = answer_residual_directions[:, 0] - answer_residual_directions[:, 1]

per_layer_residual, layer_labels = cache.decompose_resid(layer=-1, pos_slice=-1, return_labels=True)
per_layer_attribution = cache.logit_attrs(per_layer_residual, answer_tokens[:, 0], answer_tokens[:, 1], pos_slice=-1)
per_head_residual, head_labels = cache.stack_head_results(layer=-1, pos_slice=-1, return_labels=True)
per_head_attribution = cache.logit_attrs(per_head_residual, answer_tokens[:, 0], answer_tokens[:, 1], pos_slice=-1)
scaled = cache.apply_ln_to_stack(per_head_residual, layer=-1, pos_slice=-1)

corrupted_prompts = [prompts[1], prompts[0]]
corrupted_tokens = model.to_tokens(corrupted_prompts, prepend_bos=True)
corrupted_logits, corrupted_cache = model.run_with_cache(corrupted_tokens, return_type="logits")
corrupted_average_logit_diff = logits_to_ave_logit_diff(corrupted_logits, answer_tokens)


def patch_residual_component(corrupted_residual_component, hook, pos, clean_cache):
    corrupted_residual_component[:, pos, :] = clean_cache[hook.name][:, pos, :]
    return corrupted_residual_component


def normalize_patched_logit_diff(patched_logit_diff):
    return (patched_logit_diff - corrupted_average_logit_diff) / (original_average_logit_diff - corrupted_average_logit_diff)


patched_residual_stream_diff = torch.zeros(model.cfg.n_layers, tokens.shape[1], device="cpu", dtype=torch.float32)
for layer in range(model.cfg.n_layers):
    for position in range(tokens.shape[1]):
        hook_fn = partial(patch_residual_component, pos=position, clean_cache=cache)
        patched_logits = model.run_with_hooks(
            corrupted_tokens, fwd_hooks=[(utils.get_act_name("resid_pre", layer), hook_fn)], return_type="logits"
        )
        patched_residual_stream_diff[layer, position] = normalize_patched_logit_diff(
            logits_to_ave_logit_diff(patched_logits, answer_tokens)
        )

metric = lambda logits: normalize_patched_logit_diff(logits_to_ave_logit_diff(logits, answer_tokens))
by_library = patching.get_act_patch_resid_pre(model, corrupted_tokens, cache, metric)
every_head = patching.get_act_patch_attn_head_all_pos_every(model, corrupted_tokens, cache, metric)
