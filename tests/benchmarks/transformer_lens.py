"""The same weights in TransformerLens, where it is installed, and its own patching sweeps."""

import tempfile
from collections.abc import Callable, Sequence
from importlib.util import find_spec

import torch
from tokenizers import Tokenizer, models
from tokenizers.pre_tokenizers import WhitespaceSplit
from torch import Tensor
from transformers import AutoTokenizer, PreTrainedModel, PreTrainedTokenizerFast

from lens.analysis.interventions import Pairs

INSTALLED = find_spec("transformer_lens") is not None
ARCHITECTURE = {"gpt2": "gpt2", "llama": "HuggingFaceTB/SmolLM2-135M-Instruct"}  # only names: nothing is fetched
SWEEPS = {"resid_pre": "get_act_patch_resid_pre", "z": "get_act_patch_attn_head_out_all_pos"}


def few_words(words: Sequence[str] = ("a",)) -> PreTrainedTokenizerFast:
    """A tokenizer of these words, separated by spaces; ``<u>`` is any other, and stands at the ends."""
    ends = {"unk_token": "<u>", "bos_token": "<u>", "eos_token": "<u>", "pad_token": "<u>"}
    ids = {word: i for i, word in enumerate(dict.fromkeys(["<u>", *words]))}
    made = Tokenizer(models.WordLevel(ids, unk_token="<u>"))
    made.pre_tokenizer = WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=made, **ends)


def bridge(hf: PreTrainedModel, words: Sequence[str] = ("a",)):
    """A TransformerLens model on the modules of ``hf``; it insists on a tokenizer, so it gets one of few words."""
    from transformer_lens import TransformerBridge

    with tempfile.TemporaryDirectory() as folder:
        few_words(words).save_pretrained(folder)
        tokenizer = AutoTokenizer.from_pretrained(folder)
        name = ARCHITECTURE[hf.config.model_type]
        model = TransformerBridge.boot_transformers(name, hf_model=hf, tokenizer=tokenizer)
    model.enable_compatibility_mode(disable_warnings=True, no_processing=True)
    return model


def sweep_of(model, site: str, pairs: Pairs) -> Callable[[], Tensor]:
    """Its sweep of one pair: clean activations into the corrupted run, logit difference at the last token.

    The call records the clean run too, as ours does.
    """
    from transformer_lens import patching

    clean, corrupted = torch.tensor(pairs.clean), torch.tensor(pairs.corrupted)
    (answer,), (wrong,) = pairs.answers[0], pairs.wrong[0]

    @torch.no_grad()
    def run() -> Tensor:
        _, cache = model.run_with_cache(clean)
        metric = lambda logits: logits[0, -1, answer] - logits[0, -1, wrong]  # noqa: E731
        return getattr(patching, SWEEPS[site])(model, corrupted, cache, metric)

    return run
