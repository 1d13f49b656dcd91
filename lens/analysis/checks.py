"""How far a model's numbers are from what they claim to be, one claim at a time, on one run.

Each check compares two ways to the same number and gives the largest difference, with the tolerance that rounding
explains. A check that does not apply, or cannot be done, says why. :mod:`lens.analysis.fidelity` collects them.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lens.analysis import recomputed
from lens.analysis.recomputed import exact
from lens.cache import ActivationCache
from lens.components import Norm
from lens.config import Config
from lens.hooked import HookedTransformer

SMALLEST_EPS = 1e-6  # formats coarser than float32 hide what most checks look for
WHOLE, LAYER, SUM = 256, 64, 16  # roundings allowed: through all layers, within an MLP, in one sum or product


class Check(NamedTuple):
    """Two ways to one number. ``value`` is the largest difference; None where it was not computed, for ``missing``."""

    name: str
    claim: str
    value: float | None
    tolerance: float
    unit: str
    where: str  # of the largest difference
    why: str  # why this tolerance
    missing: str = ""

    @property
    def passed(self) -> bool | None:
        """Whether the difference is within the tolerance; an undefined one is not. None where it was not computed."""
        return None if self.value is None else self.value <= self.tolerance


class Run(NamedTuple):
    """One run of the model that all checks look at."""

    model: HookedTransformer
    tokens: Int[Tensor, "1 pos"]
    logits: Float[Tensor, "1 pos d_vocab"]
    cache: ActivationCache


def tolerance(dtype: torch.dtype, scale: float, steps: int) -> float:
    """What ``steps`` roundings of a number as large as ``scale`` (at least 1) can add up to in this format."""
    return steps * torch.finfo(dtype).eps * max(scale, 1.0)


def reason(dtype: torch.dtype, scale: float, steps: int, what: str) -> str:
    """The sentence behind :func:`tolerance`."""
    eps, name = torch.finfo(dtype).eps, str(dtype).removeprefix("torch.")
    return f"{steps} roundings of {name} (each {eps:.1e} of the number), largest {what} {max(scale, 1.0):.3g}"


def too_coarse(dtype: torch.dtype) -> str:
    """Why most checks say nothing in this format; "" where they do."""
    if torch.finfo(dtype).eps < SMALLEST_EPS:
        return ""
    return f"rounding in {str(dtype).removeprefix('torch.')} alone is larger than what would matter; open it in float32"


def number_format(run: Run) -> Check:
    """Whether every weight has one format, the model's, and every norm's scale at least float32."""
    dtype = run.model.dtype
    other = [name for name, weight in run.model.named_parameters() if weight.dtype != dtype]
    scales = [(name, x) for name, x in run.cache.items() if name.endswith("hook_scale")]
    other += [name for name, x in scales if x.dtype.itemsize < torch.float32.itemsize]
    claim = f"every weight is {str(dtype).removeprefix('torch.')}, and norms are taken in at least float32"
    return Check("Number format", claim, float(len(other)), 0.0, "of another format", next(iter(other), ""), "a count")


def finite(run: Run) -> Check:
    """Whether any weight, activation or logit is undefined or infinite; masked scores are −∞ on purpose."""
    named = [*run.model.named_parameters(), ("logits", run.logits)]
    named += [item for item in run.cache.items() if not item[0].endswith("hook_attn_scores")]
    bad = [(name, int((~x.isfinite()).sum())) for name, x in named]
    worst = next((name for name, count in bad if count), "")
    claim = "no weight, activation or logit is undefined or infinite"
    return Check("Finite numbers", claim, float(sum(count for _, count in bad)), 0.0, "numbers", worst, "a count")


class Worst(NamedTuple):
    """The largest difference over the layers, the largest number that was rounded, and the layer of the difference."""

    value: float
    size: float
    where: str


def _worst(run: Run, difference: Callable[[int], tuple[float, float]]) -> Worst:
    """A difference that is undefined counts as the largest."""
    found = [difference(layer) for layer in range(run.model.cfg.n_layers)]
    at = max(range(len(found)), key=lambda i: math.inf if math.isnan(found[i][0]) else found[i][0])
    return Worst(found[at][0], max(size for _, size in found), f"layer {at}")


def _layers(run: Run, name: str, claim: str, difference: Callable[[int], tuple[float, float]], steps: int) -> Check:
    """A check of every layer; ``difference(layer)`` gives the largest difference and the size of what was rounded."""
    dtype = run.model.dtype
    if coarse := too_coarse(dtype):
        return Check(name, claim, None, 0.0, "", "", "", coarse)
    value, size, where = _worst(run, difference)
    what, unit = ("score", "probability") if steps == SUM else ("output", "activation")
    return Check(name, claim, value, tolerance(dtype, size, steps), unit, where, reason(dtype, size, steps, what))


def rows_sum_to_one(run: Run) -> Check:
    """How far any row of any pattern is from a sum of 1."""
    dtype = run.model.dtype

    def off(layer: int) -> tuple[float, float]:
        return (exact(run.cache["pattern", layer]).sum(-1) - 1).abs().max().item(), 1.0

    value, _, where = _worst(run, off)
    why = reason(dtype, 1.0, SUM, "sum")
    claim = "each query's attention sums to 1"
    return Check("Rows of patterns", claim, value, tolerance(dtype, 1.0, SUM), "probability", where, why)


def causal(run: Run) -> Check:
    """The largest attention to a token that a query may not see."""
    cfg, place = run.model.cfg, torch.arange(run.tokens.shape[1], device=run.tokens.device)
    back = place[:, None] - place

    def leaked(layer: int) -> tuple[float, float]:
        hidden = (back < 0) | (back >= (cfg.window(layer) or len(place)))
        return (run.cache["pattern", layer] * hidden).abs().max().item(), 1.0

    value, _, where = _worst(run, leaked)
    windows = " nor outside its window" if cfg.windows is not None and any(cfg.windows) else ""
    claim = f"no query attends to what comes after it{windows}"
    return Check("Causal mask", claim, value, 0.0, "probability", where, "masked scores are −∞, so exactly 0")


def patterns(run: Run) -> Check:
    """The patterns against a second computation in float64 from queries and keys."""

    def difference(layer: int) -> tuple[float, float]:
        scores = run.cache["attn_scores", layer]
        size = scores.masked_fill(~scores.isfinite(), 0).abs().max().item()
        again = recomputed.attention_pattern(run.cache, layer)
        return (again - exact(run.cache["pattern", layer])).abs().max().item(), size

    claim = f"softmax of {_score_words(run.model.cfg)}, in float64, is the pattern"
    return _layers(run, "Patterns from q and k", claim, difference, SUM)


def _score_words(cfg: Config) -> str:
    words = "q·k"
    words = f"normalised {words}" if cfg.qk_norm is not None else words
    words = f"rotated {words}" if cfg.positions == "rotary" else words
    words += f" / {cfg.attn_scale:.4g}" + (" / (layer + 1)" if cfg.scale_by_layer else "")
    words += f", capped at {cfg.attn_softcap:g}" if cfg.attn_softcap is not None else ""
    words += ", less with distance" if cfg.positions == "alibi" else ""
    return f"{words}, masked"


def mlps(run: Run) -> Check:
    """What the MLPs write against a second computation in float64 from what they read."""
    cfg, name = run.model.cfg, "MLPs from their inputs"
    source = "ln2.hook_normalized" if isinstance(getattr(run.model.blocks[0], "ln2", None), Norm) else "the stream"
    claim = f"the MLP's own weights on {source}, in float64, give hook_mlp_out"
    if cfg.attn_only:
        return Check(name, claim, None, 0.0, "", "", "", "the model has attention layers only")

    def difference(layer: int) -> tuple[float, float]:
        out = run.cache["mlp_out", layer]
        return (recomputed.mlp_output(run.cache, layer) - exact(out)).abs().max().item(), out.abs().max().item()

    return _layers(run, name, claim, difference, LAYER)
