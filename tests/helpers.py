"""Small reference models for the tests: Hugging Face's own, shaken, and the same weights in Lens."""

import torch
from tokenizers import Tokenizer, decoders, normalizers
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.models import BPE, Unigram
from tokenizers.pre_tokenizers import ByteLevel, Metaspace
from tokenizers.trainers import BpeTrainer
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from lens import HookedTransformer
from lens.families import convert, family_of
from lens.tokens import NO_BOS, BosPolicy

TEXT = (
    "When Mary and John went to the store, John gave a drink to Mary. The cat sat on the mat. The mat sat on the cat. "
    "Then, Claire and Tom walked home; 'why', she said, \"is it so late?\" 0123456789 def f(x):\n    return x + 1\n"
)

SIZES = {"gpt2": {"n_layer": 3, "n_head": 4, "n_embd": 32, "vocab_size": 113, "n_positions": 64}}
LLAMA_SIZE = {
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "hidden_size": 32,
    "intermediate_size": 48,
    "vocab_size": 113,
    "max_position_embeddings": 64,
}


def shaken(model: PreTrainedModel, seed: int = 0) -> PreTrainedModel:
    """Every parameter moved by 0.2 * randn: fresh weights have zero biases, unit gains and nearly flat attention."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return model.eval()


def hf_gpt2(**changes) -> GPT2LMHeadModel:
    """A shaken GPT-2 of a few thousand weights, with eager attention so that it can return its patterns."""
    return shaken(GPT2LMHeadModel(GPT2Config(**{**SIZES["gpt2"], **changes}, attn_implementation="eager")))


def hf_llama(**changes) -> LlamaForCausalLM:
    """A shaken LLaMA of a few thousand weights."""
    return shaken(LlamaForCausalLM(LlamaConfig(**{**LLAMA_SIZE, **changes}, attn_implementation="eager")))


def in_lens(hf: PreTrainedModel, tokenizer=None, bos: BosPolicy = NO_BOS) -> HookedTransformer:
    """The same weights in Lens, through the family's tables."""
    config = hf.config.to_dict()
    family = family_of(config)
    cfg = family.config(config)
    state = convert(family, cfg, weights_of(hf))
    return HookedTransformer.from_state(
        cfg, state, tokenizer=tokenizer, bos=bos, name=f"tiny-{family.model_type}"
    ).eval()


def weights_of(hf: PreTrainedModel) -> dict[str, torch.Tensor]:
    """A copy of their weights, under their names."""
    return {name: tensor.clone() for name, tensor in hf.state_dict().items()}


def sentencepiece_tokenizer(kind: str = "bpe", legacy: bool = False) -> PreTrainedTokenizerFast:
    """A small SentencePiece-like tokenizer, "bpe" or "unigram": ``▁`` for spaces, one put in front, bytes at the end.

    ``legacy``: with a normaliser in place of the pre-tokenizer, as the files of Llama 2 have it.
    """
    special, pieces = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))], list("▁MaryJohnwetdi")
    merges = ["M a", "r y", "Ma ry", "▁ Mary", "J o", "h n", "Jo hn", "▁ John", "a n", "an d", "▁ and", "w e", "we n"]
    merges += ["wen t", "▁ went"]
    pieces += [merge.replace(" ", "") for merge in merges]
    vocab = list(dict.fromkeys([*special, *pieces]))
    if kind == "bpe":
        ids = {piece: i for i, piece in enumerate(vocab)}
        pairs = [tuple(merge.split(" ")) for merge in merges]
        tokenizer = Tokenizer(BPE(ids, pairs, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    else:
        scores = [(piece, float(len(piece)) - 10) for piece in vocab]
        tokenizer = Tokenizer(Unigram(scores, unk_id=0, byte_fallback=True))
    if legacy:
        tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    else:
        tokenizer.pre_tokenizer = Metaspace(prepend_scheme="first", split=False)
    rules = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    tokenizer.decoder = decoders.Sequence(rules)
    names = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names)


def byte_tokenizer(vocab_size: int = 330) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer that knows any text, with ``<bos>`` as id 0."""
    tokenizer = Tokenizer(BPE())
    tokenizer.pre_tokenizer, tokenizer.decoder = ByteLevel(add_prefix_space=False), ByteLevelDecoder()
    alphabet = ByteLevel.alphabet()
    tokenizer.train_from_iterator(
        [TEXT],
        BpeTrainer(vocab_size=vocab_size, special_tokens=["<bos>"], initial_alphabet=alphabet, show_progress=False),
    )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<bos>", eos_token="<bos>")
