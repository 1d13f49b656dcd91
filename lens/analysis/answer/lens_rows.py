"""The places of a model at which a logit lens reads: after every layer, and in the middle of one."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from lens.config import Config

PARTS = {
    "stream": "the residual stream",
    "attention": "the sum of what the attention layers wrote so far, without embedding and MLPs",
    "mlp": "the sum of what the MLPs wrote so far, without embedding and attention",
}
EMBED = "embed"


class LensRow(NamedTuple):
    """One place of the stream: ``layer`` −1 is the embedding; ``mid``: between attention and MLP of the layer."""

    layer: int
    mid: bool = False

    @property
    def label(self) -> str:
        """ "embed", "3 mid" or "3": after layer 3."""
        return EMBED if self.layer < 0 else f"{self.layer} mid" if self.mid else str(self.layer)


def lens_rows(cfg: Config, source: str = "stream", mid: bool = False) -> tuple[LensRow, ...]:
    """The rows of a lens. ``source``: see ``PARTS``; only the stream has an embedding row and, with ``mid``, rows
    between attention and MLP, where the model has such a place: parallel and attention-only blocks have none.

    ValueError for a source that the model does not have.
    """
    if source not in PARTS:
        raise ValueError(f"logit_lens: source={source!r}; it must be one of {', '.join(PARTS)}.")
    if source == "mlp" and cfg.attn_only:
        raise ValueError("logit_lens: source='mlp', and this model has no MLP. Read the stream or attention's writes.")
    if source != "stream":
        return tuple(LensRow(layer) for layer in range(cfg.n_layers))
    places = (True, False) if mid and has_mid(cfg) else (False,)
    return (LensRow(-1), *(LensRow(layer, place) for layer in range(cfg.n_layers) for place in places))


def has_mid(cfg: Config) -> bool:
    """Whether there is a stream between attention and MLP."""
    return not (cfg.attn_only or cfg.parallel)


def lens_points(rows: Sequence[LensRow], source: str = "stream") -> Iterator[str]:
    """The hook point of every row."""
    for layer, mid in rows:
        if source != "stream":
            yield f"blocks.{layer}.hook_{'attn' if source == 'attention' else 'mlp'}_out"
        elif layer < 0:
            yield "blocks.0.hook_resid_pre"
        else:
            yield f"blocks.{layer}.hook_resid_{'mid' if mid else 'post'}"
