"""Reference numbers of models, and how the same are computed here.

Most are runs of TransformerLens, two are worked out by hand from planted weights: each names its source.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import product

import torch
from torch import Tensor

from lens.analysis.circuit_weights import constant_values
from lens.analysis.interventions import Sweep, run_sweep
from lens.analysis.interventions.ablation import single_heads
from lens.analysis.interventions.tasks import induction
from lens.hooked import HookedTransformer
from lens.hooks import HookPoint, hooks
from lens.planted import closed_form as exact
from lens.planted.layout import COPY, INDUCTION

REFERENCE = "TransformerLens 2.18, float32, default processing"
FLOAT = {"probability": 2e-5, "logits": 2e-4, "nats": 1e-4}  # float32 of logits near 100, summed in another order
BY_HAND = "by hand, from the planted weights"
STORE = "After John and Mary went to the store, {} gave a bottle of milk to"
SHOPS = "Claire and Mary went to the shops, then Mary gave a bottle of milk to"
ABSTRACT = (
    "Natural language processing tasks, such as question answering, machine translation, reading comprehension, and "
    "summarization, are typically approached with supervised learning on taskspecific datasets."
)
PRONOUNS = {"Mary": "she", "John": "he", "Tom": "he", "Dan": "he", "Amy": "she"}
FRAMES = ("a great friend", "an amazing person", "a fantastic colleague", "a wonderful partner", "an excellent student")


@dataclass(frozen=True)
class Published:
    """One reference number of one model. ``tolerance``: how far a recomputed one may lie from it."""

    model: str  # short name
    what: str
    value: float
    unit: str
    source: str
    compute: Callable[[HookedTransformer], float]
    tolerance: float

    def agrees(self, found: float) -> bool:
        """Whether a recomputed number is the reference, as far as that was printed."""
        return abs(found - self.value) <= self.tolerance


@torch.no_grad()
def _last_logits(model: HookedTransformer, prompt: str, prepend_bos: bool | None = None) -> Tensor:
    return model(model.to_tokens(prompt, prepend_bos=prepend_bos))[0, -1]


def probability(model: HookedTransformer, prompt: str, answer: str) -> float:
    """Probability of a one-token answer after the prompt."""
    return float(_last_logits(model, prompt).softmax(-1)[model.to_single_token(answer)])


def difference(model: HookedTransformer, prompt: str, right: str, wrong: str, prepend_bos: bool | None = None) -> float:
    """Logit of one answer less that of another, after the prompt."""
    logits = _last_logits(model, prompt, prepend_bos)
    return float(logits[model.to_single_token(right)] - logits[model.to_single_token(wrong)])


def pronouns(model: HookedTransformer) -> float:
    """Mean over names and frames of the logit of the fitting pronoun less that of the other, after "… is …, isn’t"."""
    other = {"she": " he", "he": " she"}
    found = [
        difference(model, f"{name} is {frame}, isn’t", f" {PRONOUNS[name]}", other[PRONOUNS[name]])
        for name, frame in product(PRONOUNS, FRAMES)
    ]
    return sum(found) / len(found)


@torch.no_grad()
def loss(model: HookedTransformer, text: str, silent: tuple[int, int] | None = None) -> float:
    """Mean loss on a text, nats; ``silent``: with the values of that head as if nothing stood there.

    That is zero in a model whose value biases are folded, and the constant part of the values in any other.
    """
    tokens = model.to_tokens(text)
    if silent is None:
        return float(model(tokens, return_type="loss"))
    layer, head = silent

    def silence(v: Tensor, hook: HookPoint) -> Tensor:
        v[:, :, head // model.cfg.group_size] = constant_values(model, layer)[head].to(v)
        return v

    with hooks(model, [(f"blocks.{layer}.attn.hook_v", silence)]):
        return float(model(tokens, return_type="loss"))


def _without_each_head(model: HookedTransformer) -> Sweep:
    task = induction(model, n=10)
    return run_sweep(model, single_heads(task.pairs, task.metric))


def second_copy_loss(model: HookedTransformer) -> float:
    """Mean loss on the second copy of 16 sequences of 10 random tokens, twice, nats."""
    return float(_without_each_head(model).base.mean())


def rise_without(model: HookedTransformer, head: tuple[int, int]) -> float:
    """How far that loss rises when one head is resampled from the control, nats."""
    sweep = _without_each_head(model)
    return float((sweep.values[head] - sweep.base).mean())


def printed_tolerance(unit: str, digits: int) -> float:
    """Half a unit of the last of ``digits`` decimals, and what float32 adds in another order of summation."""
    return 0.5 * 10**-digits + FLOAT[unit]


def _reference(
    model: str, what: str, value: float, unit: str, compute: Callable[[HookedTransformer], float], digits: int
) -> Published:
    return Published(model, what, value, unit, REFERENCE, compute, printed_tolerance(unit, digits))


_gpt2 = partial(_reference, "gpt2")


def _milk(name: str) -> Callable[[HookedTransformer], float]:
    return partial(difference, prompt=STORE.format(name), right=" John", wrong=" Mary")


_SHOPS = partial(difference, prompt=SHOPS, right=" Claire", wrong=" Mary")
_CAT = partial(probability, prompt="The cat sat on the mat.", answer=" The")
_ABC = partial(probability, prompt="A B C A B", answer=" C")
_AB = partial(probability, prompt="A B A B A", answer=" B")
PUBLISHED = (
    Published(
        "planted-induction", "loss of the second copy", exact.loss(COPY), "nats", BY_HAND, second_copy_loss, 1e-4
    ),
    Published(
        "planted-induction",
        "rise of that loss without head 1.2, resampled",
        exact.saving(COPY),
        "nats",
        BY_HAND,
        partial(rise_without, head=INDUCTION),
        1e-3,
    ),
    _gpt2("P(“ The” | “The cat sat on the mat.”)", 0.1198, "probability", _CAT, 4),
    _gpt2("logit “ John” − “ Mary” after “… store, Mary gave a bottle of milk to”", 4.276, "logits", _milk("Mary"), 3),
    _gpt2("the same after “… store, John gave a bottle of milk to”", -2.738, "logits", _milk("John"), 3),
    _gpt2("logit “ Claire” − “ Mary” after “… shops, then Mary gave a bottle of milk to”", 6.754, "logits", _SHOPS, 3),
    _gpt2("the same without BOS", 2.782, "logits", partial(_SHOPS, prepend_bos=False), 3),
    _gpt2("fitting pronoun − other after “Mary is a great friend, isn’t”, 25 prompts", 3.9134, "logits", pronouns, 4),
    _gpt2("loss on the first sentence of the GPT-2 paper", 3.999, "nats", partial(loss, text=ABSTRACT), 3),
    _gpt2("the same with v of head 0.8 at zero", 4.117, "nats", partial(loss, text=ABSTRACT, silent=(0, 8)), 3),
    _reference("attn-only-2l", "P(“ C” | “A B C A B”)", 0.495, "probability", _ABC, 3),
    _reference("attn-only-1l", "P(“ B” | “A B A B A”)", 0.0565, "probability", _AB, 4),
)
MODELS = tuple(dict.fromkeys(one.model for one in PUBLISHED))


def recomputed(model: str) -> tuple[float, ...]:
    """The reference numbers of one model as this machine computes them, in their order. Opens the model."""
    opened = HookedTransformer.from_pretrained(model)
    return tuple(one.compute(opened) for one in PUBLISHED if one.model == model)
