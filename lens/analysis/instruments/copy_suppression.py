"""Copy suppression from weights: for how many tokens would a head lower the very token it looks at most?"""

from typing import TYPE_CHECKING

from lens.analysis.instruments.instrument import Cost, Instrument, Needs

if TYPE_CHECKING:
    from lens.analysis.instruments.instrument import Size
    from lens.analysis.instruments.sample import Sample
    from lens.analysis.score_results import HeadScore
    from lens.config import Config
    from lens.hooked import HookedTransformer
    from lens.progress import Progress

LOWEST, TOKENS, TURNS = 10, 64, 21  # TURNS: the head as it is, and its rotations


def _measure(model: "HookedTransformer", sample: "Sample", progress: "Progress") -> "HeadScore":
    # The registry of instruments imports no torch.
    import torch

    from lens.analysis.random_tokens import sampling_set
    from lens.analysis.set_shares import own_hits, shares_score

    ids = sampling_set(model).ids
    drawn = ids[torch.randperm(len(ids), generator=torch.Generator().manual_seed(0))[:TOKENS]]
    found = own_hits(model, drawn.tolist(), LOWEST, lowered=True, progress=progress)
    return shares_score(COPY_SUPPRESSION.kind("weights"), found, "tokens")


def _cost(cfg: "Config", size: "Size") -> Cost:
    columns = min(cfg.d_vocab, 2048)  # that most rows need; some are formed in full
    few = cfg.d_head * columns * (cfg.d_model + TURNS * TOKENS) + 10 * cfg.d_model * cfg.d_vocab
    return Cost(0, 2 * cfg.n_layers * cfg.n_heads * few)


COPY_SUPPRESSION = Instrument(
    name="copy_suppression",
    title="Copy suppression, weights",
    unit="share of tokens",
    link="copies",
    definition=f"Share of {TOKENS} tokens drawn from the vocabulary whose own logit is among the {LOWEST} that the "
    "head would lower most by attending to them, from the token's embedding with the first MLP's output, through the "
    "final norm and W_U.",
    null="the head's own OV with a random rotation between W_V and W_O, 20 for each head",
    source="McDougall et al. 2023",
    formula=r"\operatorname{mean}_t \big[ \operatorname{rank}_t (-W_{OV} W_U)_{t,\cdot} < 10 \big]",
    misreading="It is half of copy suppression: that the head looks at what the model is about to say again is not in "
    "it. A head that lowers what it looks at, and looks elsewhere, has the same share.",
    needs=Needs(("weights",), vocabulary=10 * LOWEST),
    cost=_cost,
    habit="would lower the token they look at",
    of_model=_measure,
)
