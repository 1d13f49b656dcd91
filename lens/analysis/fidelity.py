"""The fidelity card: every check of a model's numbers, from its number format to another library's answer."""

from collections.abc import Callable
from functools import partial

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lens import decompose
from lens.analysis import checks
from lens.analysis.checks import SUM, WHOLE, Check, Run, reason, tolerance, too_coarse
from lens.analysis.memory import weight_bytes
from lens.analysis.recomputed import exact
from lens.analysis.reference import NoReference, reference_logits, reference_of
from lens.components import Norm, softcapped
from lens.hooked import HookedTransformer
from lens.load.ram import machine_memory
from lens.process import center_unembed, center_writing_weights, fold_layer_norm, fold_value_biases, why_inexact
from lens.progress import Progress, silent
from lens.readout import logit_contributions

LONGEST = 32  # tokens that are read: every check is per token
LAST = 8  # positions whose logits are taken apart into components
STEPS = (fold_layer_norm, center_writing_weights, center_unembed, fold_value_biases)


def components(run: Run) -> Check:
    """Logits as a sum over embedding, heads, MLPs and biases, the final norm's scale frozen, against the logits."""
    model, n_pos = run.model, run.tokens.shape[1]
    name, cap = "Sum of components", model.cfg.final_softcap
    claim = "embedding, every head, every MLP and the biases add up to the largest and the smallest logit"
    claim += f" (before its cap at {cap:g}, which is then applied)" if cap is not None else ""
    if coarse := too_coarse(model.dtype):
        return Check(name, claim, None, 0.0, "", "", "", coarse)
    pos = slice(max(0, n_pos - LAST), n_pos)
    stack, logits = decompose.whole(run.cache, expand_neurons=False, pos=pos), run.logits[:, pos]
    off, sizes = [], []
    for chosen in (logits.argmax(-1), logits.argmin(-1)):
        direction = model.unembed.directions(chosen)
        parts = logit_contributions(run.cache, stack.values, direction, pos=pos)
        bias = model.b_U[chosen] + (direction @ model.ln_final.b if _has_bias(model.ln_final) else 0)
        total = softcapped(exact(parts).sum(0) + exact(bias), cap)
        off.append((total - exact(logits.gather(-1, chosen[..., None])[..., 0])).abs())
        sizes.append(parts.abs().sum(0))
    worst, size = torch.stack(off).max().item(), torch.stack(sizes).max().item()
    where = f"last {pos.stop - pos.start} positions, {len(stack.labels)} components"
    why = reason(model.dtype, size, SUM, "sum of absolute contributions")
    return Check(name, claim, worst, tolerance(model.dtype, size, SUM), "logits", where, why)


def _has_bias(norm: torch.nn.Module) -> bool:
    return isinstance(norm, Norm) and norm.centred


def folded(run: Run) -> Check:
    """Log-probabilities with every exact step of processing applied, against those of the weights as they are."""
    model, name = run.model, "Folded weights"
    exact = [step for step in STEPS if why_inexact(model.cfg, step.__name__) is None]
    not_exact = [f"{s.__name__} ({why_inexact(model.cfg, s.__name__)})" for s in STEPS if s not in exact]
    claim = f"{', '.join(step.__name__ for step in exact) or 'no step'}: the same log-probabilities"
    claim += f". Not applied, as not exact here: {', '.join(not_exact)}" if not_exact else ""
    if not exact:
        return Check(name, claim, None, 0.0, "", "", "", "no step of processing is exact for this model")
    if full := no_room(model):
        return Check(name, claim, None, 0.0, "", "", "", full)
    processed = model
    for step in exact:
        processed = step(processed)
    return folded_against_raw(run, processed, claim)


def folded_against_raw(run: Run, processed: HookedTransformer, claim: str) -> Check:
    """The largest difference of a log-probability between a processed copy and the model itself."""
    dtype = run.model.dtype
    if coarse := too_coarse(dtype):
        return Check("Folded weights", claim, None, 0.0, "", "", "", coarse)
    before, after = run.logits.log_softmax(-1), processed(run.tokens).log_softmax(-1)
    return _of_logits(run, "Folded weights", claim, (after - before).abs(), "nats")


def against_transformers(run: Run) -> Check:
    """Logits against those that transformers computes from the same files."""
    claim = "transformers gives the same logits"
    missing = partial(Check, "Hugging Face", claim, None, 0.0, "", "", "")
    if coarse := too_coarse(run.model.dtype):
        return missing(coarse)
    if full := no_room(run.model):
        return missing(full)
    try:
        reference = reference_of(run.model)
        theirs = reference_logits(reference, run.tokens, run.model.dtype)
    except NoReference as error:
        return missing(str(error))
    return logits_against(run, theirs, f"{claim} from {reference.words}")


def logits_against(run: Run, theirs: Float[Tensor, "1 pos d_vocab"], claim: str) -> Check:
    """The largest difference of a logit from another program's."""
    if theirs.shape != run.logits.shape:
        shapes = f"theirs are {list(theirs.shape)}, these {list(run.logits.shape)}"
        return Check("Hugging Face", claim, float("nan"), 0.0, "logits", shapes, "the shapes differ")
    return _of_logits(run, "Hugging Face", claim, (theirs.to(run.logits.device) - run.logits).abs(), "logits")


def _of_logits(run: Run, name: str, claim: str, off: Float[Tensor, "1 pos d_vocab"], unit: str) -> Check:
    by_position = off.amax(-1)[0]
    at, dtype = int(by_position.argmax()), run.model.dtype
    size = run.logits.abs().max().item()
    why = reason(dtype, size, WHOLE, "logit")
    return Check(name, claim, by_position[at].item(), tolerance(dtype, size, WHOLE), unit, f"position {at}", why)


CHECKS: dict[str, Callable[[Run], Check]] = {
    "hugging_face": against_transformers,
    "folded": folded,
    "components": components,
    "mlps": checks.mlps,
    "patterns": checks.patterns,
    "rows": checks.rows_sum_to_one,
    "causal": checks.causal,
    "finite": checks.finite,
    "number_format": checks.number_format,
}
QUICK_FIRST = tuple(reversed(CHECKS))


@torch.no_grad()
def fidelity_check(name: str, model: HookedTransformer, tokens: Int[Tensor, "1 pos"]) -> Check:
    """One of ``CHECKS`` on the first ``LONGEST`` tokens of one text without pads."""
    return CHECKS[name](one_run(model, tokens))


@torch.no_grad()
def fidelity(model: HookedTransformer, tokens: Int[Tensor, "1 pos"], progress: Progress = silent) -> dict[str, Check]:
    """All ``CHECKS`` on the first ``LONGEST`` tokens of one text without pads, the widest claim first.

    Folding and the other library each need one more copy of the weights for a moment. ``progress`` may raise.
    """
    run, found = one_run(model, tokens), {}
    for done, name in enumerate(QUICK_FIRST):
        progress(done / len(CHECKS), name.replace("_", " "))
        found[name] = CHECKS[name](run)
    return {name: found[name] for name in CHECKS}


def one_run(model: HookedTransformer, tokens: Int[Tensor, "1 pos"]) -> Run:
    """The run that the checks look at; ValueError unless ``tokens`` are one text."""
    if tokens.ndim != 2 or tokens.shape[0] != 1:
        raise ValueError(f"fidelity: tokens of shape {list(tokens.shape)}; wanted one text, [1, pos].")
    tokens = tokens[:, :LONGEST].to(model.device)
    return Run(model, tokens, *model.run_with_cache(tokens))


def no_room(model: HookedTransformer) -> str:
    """Why a second copy of the weights cannot be held; "" if it can."""
    free, needed = machine_memory().available, weight_bytes(model)
    if model.device.type != "cpu" or needed < free:
        return ""
    return f"a second copy of the weights takes {needed / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free"
