"""Random tokens a model can be fairly tested on, and sequences that repeat them, with their paired control."""

from threading import Lock
from typing import NamedTuple
from weakref import WeakKeyDictionary

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lens.hooked import HookedTransformer

TRIM = 0.05  # of the ids at both ends of the frequency order


class SamplingSet(NamedTuple):
    """The token ids that random tokens are drawn from, ascending, and one sentence that says which they are."""

    ids: Int[Tensor, " id"]
    description: str


class RepeatedTokens(NamedTuple):
    """Sequences [BOS] r₁…r_n r₁…r_n and the paired control [BOS] r₁…r_n s₁…s_n: the same r, no s occurs in r."""

    tokens: Int[Tensor, "batch pos"]
    control: Int[Tensor, "batch pos"]
    n: int  # length of the repeated block
    bos: int  # positions before the first block: 1 with BOS, 0 without
    seed: int
    set_size: int  # ids the blocks were drawn from
    description: str

    @property
    def queries(self) -> range:
        """Positions of the second copy, zero-based, BOS counted."""
        return range(self.bos + self.n, self.bos + 2 * self.n)


_known: WeakKeyDictionary[HookedTransformer, SamplingSet] = WeakKeyDictionary()
_lock = Lock()


def sampling_set(model: HookedTransformer) -> SamplingSet:
    """The model's non-special tokens that decode and re-encode as themselves; computed once per model.

    The rarest and the commonest are left out (:func:`trim`) where ``model.token_counts`` says which these are. Without
    a tokenizer: every id but BOS.
    """
    with _lock:
        if model not in _known:
            _known[model] = _sampling_set(model)
        return _known[model]


def _sampling_set(model: HookedTransformer) -> SamplingSet:
    special = set() if model.bos.id is None else {model.bos.id}
    d_vocab = model.cfg.d_vocab
    if model.tokenizer is None:
        ids = [i for i in range(d_vocab) if i not in special]
        text = f"all {len(ids)} ids but the special ones (no tokenizer, so nothing was decoded and re-encoded)"
    else:
        special.update(model.tokenizer.all_special_ids)
        backend = model.tokenizer.backend_tokenizer
        special.update(i for i, token in backend.get_added_tokens_decoder().items() if token.special)
        candidates = sorted({i for i in backend.get_vocab().values() if i < d_vocab} - special)
        texts = backend.decode_batch([[i] for i in candidates], skip_special_tokens=False)
        again = backend.encode_batch_fast(texts, add_special_tokens=False)
        ids = [i for i, encoding in zip(candidates, again, strict=True) if encoding.ids == [i]]
        text = f"{len(ids)} of {d_vocab} ids: not special, decode and re-encode as themselves"
    found = SamplingSet(torch.tensor(ids, dtype=torch.long), text)
    if model.token_counts is not None:
        return trim(found, model.token_counts)
    return found._replace(description=f"{text}; no token frequency is known for this model, so common and rare stay")


def trim(sampling: SamplingSet, frequency: Float[Tensor, " d_vocab"], share: float = TRIM) -> SamplingSet:
    """``sampling`` without the ``share`` of its ids that are rarest and the ``share`` that are commonest.

    ``frequency`` is a count or probability per id of the whole vocabulary.
    """
    if not 0 <= share < 0.5:
        raise ValueError(f"trim: share={share}; it must be at least 0 and below 0.5.")
    order = sampling.ids[frequency[sampling.ids].argsort(stable=True)]
    cut = int(len(order) * share)
    kept = order[cut : len(order) - cut].sort().values
    left = f"{len(kept)}, without the {share:.0%} rarest in the training text and the {share:.0%} commonest"
    return SamplingSet(kept, f"{sampling.description}; of these {left}")


def repeated_tokens(
    model: HookedTransformer,
    n: int = 25,
    n_seqs: int = 16,
    seed: int = 0,
    prepend_bos: bool = True,
    sampling: SamplingSet | None = None,
) -> RepeatedTokens:
    """``n_seqs`` sequences that repeat ``n`` random tokens, and their control that goes on with other tokens.

    All 2n tokens r and s of a pair are drawn without replacement, from ``sampling_set(model)`` unless another is given.
    The first sequences stay the same when ``n_seqs`` grows. ValueError if the set or the context is too small.
    """
    chosen = sampling_set(model) if sampling is None else sampling
    bos = int(prepend_bos)
    _check(model, n, n_seqs, bos, len(chosen.ids))
    generator = torch.Generator().manual_seed(seed)
    order = torch.stack([torch.randperm(len(chosen.ids), generator=generator)[: 2 * n] for _ in range(n_seqs)])
    r, s = chosen.ids[order].split(n, dim=1)
    start = torch.full((n_seqs, bos), model.bos.id if bos else 0)
    note = f"drawn without replacement from {chosen.description}"
    if not bos:
        note += "; no BOS, so the first token takes its place as a resting place of attention"
    return RepeatedTokens(torch.cat([start, r, r], 1), torch.cat([start, r, s], 1), n, bos, seed, len(chosen.ids), note)


def _check(model: HookedTransformer, n: int, n_seqs: int, bos: int, size: int) -> None:
    if bos and model.bos.id is None:
        raise ValueError(f"repeated_tokens: {model.name} has no BOS token; pass prepend_bos=False.")
    if n_seqs < 1:
        raise ValueError(f"repeated_tokens: n_seqs={n_seqs}; at least 1 is needed, 16 for confidence intervals.")
    if n < 2:
        raise ValueError(f"repeated_tokens: n={n}; a block needs at least 2 tokens, so that one follows another.")
    if 2 * n > size:
        raise ValueError(
            f"repeated_tokens: n={n} needs {2 * n} different tokens, the set has {size}; use n of at most {size // 2}."
        )
    if bos + 2 * n > model.cfg.n_ctx:
        raise ValueError(
            f"repeated_tokens: n={n} gives {bos + 2 * n} positions, {model.name} reads {model.cfg.n_ctx}; "
            f"use n of at most {(model.cfg.n_ctx - bos) // 2}."
        )
