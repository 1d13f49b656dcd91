"""``transformer_lens.utils``: the small functions that notebooks call."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lens.cache import get_act_name
from lens.compat.datasets import keep_single_column, tokenize_and_concatenate
from lens.compat.initial import fans as calc_fan_in_and_fan_out
from lens.compat.loading_from_pretrained import tokenizer_of
from lens.compat.slices import Slice, SliceInput
from lens.components import ACT_FN, at_least_float32
from lens.composition import composition_scores as _all_pairs
from lens.factored import FactoredMatrix
from lens.finite import NotFinite, require_finite
from lens.generate import Sampling, next_token_probs
from lens.load.device import pick_device

__all__ = [
    "ACTIVATION_FN_DICT",
    "USE_DEFAULT_VALUE",
    "Slice",
    "SliceInput",
    "calc_fan_in_and_fan_out",
    "composition_scores",
    "gelu_fast",
    "gelu_new",
    "get_act_name",
    "get_corner",
    "get_cumsum_along_dim",
    "get_device",
    "get_nested_attr",
    "is_lower_triangular",
    "is_square",
    "keep_single_column",
    "lm_accuracy",
    "lm_cross_entropy_loss",
    "override_or_use_default_value",
    "print_gpu_mem",
    "remove_batch_dim",
    "sample_logits",
    "set_nested_attr",
    "solu",
    "test_prompt",
    "to_numpy",
    "tokenize_and_concatenate",
    "tokenizer_of",
    "transpose",
]

USE_DEFAULT_VALUE = None
gelu_new = gelu_fast = ACT_FN["gelu_new"]
solu = ACT_FN["solu"]
ACTIVATION_FN_DICT = {**ACT_FN, "solu_ln": solu, "gelu_fast": gelu_fast, "gelu_pytorch_tanh": gelu_new}


def to_numpy(tensor: Any) -> np.ndarray:
    """A tensor, list, tuple or number as a numpy array, without gradients and on the CPU."""
    return tensor.detach().cpu().numpy() if isinstance(tensor, Tensor) else np.asarray(tensor)


def get_corner(tensor: Tensor | FactoredMatrix, n: int = 3) -> Tensor:
    """The first ``n`` entries along every axis."""
    return tensor.get_corner(n) if isinstance(tensor, FactoredMatrix) else tensor[(slice(n),) * tensor.ndim]


def get_device() -> torch.device:
    """The best device of this machine."""
    return pick_device()


def print_gpu_mem(step_name: str = "") -> None:
    """Print how much memory tensors take on the GPU."""
    print(f"{step_name} ~ {torch.cuda.memory_allocated() / 2**30:.2f} GiB allocated on GPU.")  # noqa: T201


def remove_batch_dim(tensor: Tensor) -> Tensor:
    """``tensor`` without its first axis if that has length 1."""
    return tensor[0] if tensor.shape[0] == 1 else tensor


def transpose(tensor: Float[Tensor, "... a b"]) -> Float[Tensor, "... b a"]:
    """The last two axes exchanged."""
    return tensor.mT


def is_square(x: Tensor) -> bool:
    """Whether ``x`` is a matrix with as many rows as columns."""
    return x.ndim == 2 and x.shape[0] == x.shape[1]


def is_lower_triangular(x: Tensor) -> bool:
    """Whether ``x`` is a square matrix with nothing above its diagonal."""
    return is_square(x) and torch.equal(x, x.tril())


def get_cumsum_along_dim(tensor: Tensor, dim: int, reverse: bool = False) -> Tensor:
    """Running sum along an axis; ``reverse`` from its end."""
    return tensor.flip(dim).cumsum(dim).flip(dim) if reverse else tensor.cumsum(dim)


def override_or_use_default_value(default_flag: Any, override: Any = None) -> Any:
    """``override`` unless it is None."""
    return default_flag if override is None else override


def get_nested_attr(obj: Any, attr_str: str) -> Any:
    """``get_nested_attr(model, "blocks.0.attn.W_Q")``."""
    for name in attr_str.split("."):
        obj = obj[int(name)] if name.isdigit() else getattr(obj, name)
    return obj


def set_nested_attr(obj: Any, attr_str: str, value: Any) -> None:
    """Set ``obj.a.b.c`` from the name "a.b.c"."""
    before, _, last = attr_str.rpartition(".")
    setattr(get_nested_attr(obj, before) if before else obj, last, value)


def lm_cross_entropy_loss(
    logits: Float[Tensor, "batch pos d_vocab"],
    tokens: Int[Tensor, "batch pos"],
    attention_mask: Int[Tensor, "batch pos"] | None = None,
    per_token: bool = False,
) -> Float[Tensor, ""] | Float[Tensor, "batch pos_minus_1"]:
    """Surprise at the next token, nats: the mean, or ``per_token`` one for each prediction (0 at padding)."""
    logprobs = at_least_float32(logits[..., :-1, :]).log_softmax(-1)
    loss = -logprobs.gather(-1, tokens[..., 1:, None])[..., 0]
    if attention_mask is None:
        _refuse_faults("lm_cross_entropy_loss", loss)
        return loss if per_token else loss.mean()
    real = attention_mask[..., :-1].bool() & attention_mask[..., 1:].bool()
    loss = loss.masked_fill(~real, 0)
    _refuse_faults("lm_cross_entropy_loss", loss)
    return loss if per_token else loss.sum() / real.sum()


def _refuse_faults(what: str, values: Float[Tensor, "*batch pos"]) -> None:
    """NotFinite at the first position whose ``values`` are; only a model can say which layer made them so."""
    bad = ~values.isfinite()
    if bad.any():
        first = int(bad.reshape(-1, bad.shape[-1]).any(0).nonzero()[0, 0])
        raise NotFinite(
            f"{what}: the logits are NaN or infinite, first at position {first}; nothing is averaged or ranked. "
            "model(tokens, return_type='loss') says in which layer they become so."
        )


def lm_accuracy(
    logits: Float[Tensor, "batch pos d_vocab"], tokens: Int[Tensor, "batch pos"], per_token: bool = False
) -> Float[Tensor, ""] | Bool[Tensor, "batch pos_minus_1"]:
    """Share of next tokens that were the top prediction; ``per_token`` whether each was."""
    _refuse_faults("lm_accuracy", logits[..., :-1, :].logsumexp(-1))
    right = logits[..., :-1, :].argmax(-1) == tokens[..., 1:]
    return right if per_token else right.float().mean()


def sample_logits(
    final_logits: Float[Tensor, "batch d_vocab"],
    top_k: int | None = None,
    top_p: float | None = None,
    temperature: float = 1.0,
    freq_penalty: float = 0.0,
    tokens: Int[Tensor, "batch pos"] | None = None,
) -> Int[Tensor, " batch"]:
    """A token drawn from each row. ``temperature`` 0 takes the top one.

    ``freq_penalty``: subtracted from a token's logit (after the temperature) for each time it occurs in ``tokens``.
    """
    if freq_penalty and temperature:
        if tokens is None:
            raise ValueError("sample_logits: freq_penalty counts the tokens so far; give tokens.")
        counts = F.one_hot(tokens, final_logits.shape[-1]).sum(-2)
        final_logits = final_logits - temperature * freq_penalty * counts
    if final_logits.isnan().any() or final_logits.isposinf().any():  # −inf forbids a token
        raise NotFinite("sample_logits: the logits hold NaN or infinity; no token is drawn from them.")
    probs = next_token_probs(final_logits, Sampling(temperature, top_k, top_p))
    return torch.multinomial(probs, 1)[..., 0]


def composition_scores(left: FactoredMatrix, right: FactoredMatrix, broadcast_dims: bool = True) -> Tensor:
    """``‖left right‖ / (‖left‖ ‖right‖)``: of every left with every right, or of pairs that stand side by side."""
    if broadcast_dims:
        return _all_pairs(left, right)
    return (left @ right).norm() / (left.norm() * right.norm())


@torch.no_grad()
def test_prompt(
    prompt: str,
    answer: str | Iterable[str],
    model: Any,
    prepend_space_to_answer: bool = True,  # noqa: PT028
    print_details: bool = True,  # noqa: PT028
    prepend_bos: bool | None = None,  # noqa: PT028
    top_k: int = 10,  # noqa: PT028
) -> pd.DataFrame:
    """Print how a model rates an answer to a prompt, and return it: one row per token of the answer.

    Columns: answer, token, rank (tokens that score strictly higher), logit, prob. Several answers are compared by their
    first token.
    """
    several = not isinstance(answer, str)
    answers = list(answer) if several else [answer]
    if prepend_space_to_answer:
        answers = [text if text.startswith(" ") else f" {text}" for text in answers]
    prompt_tokens = model.to_tokens(prompt, prepend_bos=prepend_bos)
    rows, lines = [], [f"Tokenized prompt: {model.to_str_tokens(prompt, prepend_bos=prepend_bos)}"]
    for text in answers:
        answer_tokens = model.to_tokens(text, prepend_bos=False)[:, : 1 if several else None]
        lines.append(f"Tokenized answer: {model.to_str_tokens(text, prepend_bos=False)}")
        tokens = torch.cat([prompt_tokens, answer_tokens], 1)
        logits = model(tokens)[0, prompt_tokens.shape[1] - 1 : -1].float()
        require_finite(model, tokens, logits)
        for token, at in zip(answer_tokens[0], logits, strict=True):
            row = _rated(model, token, at)
            rows.append({"answer": text, **row})
            lines.append("Performance on answer token:\n" + _line(f"Rank: {row['rank']: <8}", row))
            top = [_rated(model, one, at) for one in at.topk(top_k).indices]
            lines += [_line(f"Top {i}th token.", one) for i, one in enumerate(top)]
    ranks = [(row["token"], row["rank"]) for row in rows]
    lines.append(f"Ranks of the answer tokens: {[ranks] if several else ranks}")
    print("\n".join(lines if print_details else lines[-1:]))  # noqa: T201
    return pd.DataFrame(rows)


test_prompt.__test__ = False  # nor does pytest take it for one


def _rated(model: Any, token: Tensor, logits: Float[Tensor, " d_vocab"]) -> dict[str, Any]:
    return {
        "token": model.to_single_str_token(token.item()),
        "rank": int((logits > logits[token]).sum()),
        "logit": logits[token].item(),
        "prob": logits.softmax(-1)[token].item(),
    }


def _line(start: str, row: Mapping[str, Any]) -> str:
    return f"{start} Logit: {row['logit']:5.2f} Prob: {row['prob']:6.2%} Token: |{row['token']}|"
