"""The shipped held-out text as tokens: the beginnings of chapters, each with its own BOS."""

import hashlib
from functools import cache

from lens.hooked import HookedTransformer
from lens.texts import held_out
from lens.tokens import TokenBatch, padded

UNKNOWN = 0.5  # of the tokens of a text: a model that does not know more of them cannot be said to read it
CHARACTERS = 16  # handed to the tokenizer for each token that is wanted; English has 2 to 5


@cache
def held_out_digest() -> str:
    """A hash of all held-out chapters."""
    return hashlib.sha256("\f".join(held_out()).encode()).hexdigest()


def beginnings(model: HookedTransformer, n: int, prepend_bos: bool, longest: int | None = None) -> TokenBatch:
    """The first ``longest`` tokens of ``n`` held-out chapters, evenly chosen, padded on the right; none are joined.

    ``longest`` counts the BOS, and is at most the model's context; None: as much as the context holds.
    ValueError for ``n`` outside 1 … the number of chapters.
    """
    texts = held_out()
    if not 1 <= n <= len(texts):
        raise ValueError(f"beginnings: {n} chapters; the held-out text has {len(texts)}, so 1 … {len(texts)}.")
    start = [model.bos.id] if prepend_bos else []
    n_ctx = model.cfg.n_ctx if longest is None else min(longest, model.cfg.n_ctx)
    encode = model.needs_tokenizer().encode
    chosen = [texts[i * len(texts) // n][: CHARACTERS * n_ctx] for i in range(n)]
    return padded([(start + encode(one, add_special_tokens=False))[:n_ctx] for one in chosen], model.pad_id)


def is_read(model: HookedTransformer, texts: TokenBatch) -> bool:
    """Whether ``model`` has words for at least half of these texts: one that knows fifty words reads no novel."""
    unknown = model.needs_tokenizer().unk_token_id
    if unknown is None:
        return True
    return float((texts.tokens[texts.mask] == unknown).float().mean()) <= UNKNOWN
