"""The diagonal of the full OV circuit: for how many tokens would a head raise the very token it looks at most?"""

from typing import TYPE_CHECKING

from lens.analysis.instruments.instrument import FOUND, INSIDE, Cost, Expected, Instrument, Needs, by_model

if TYPE_CHECKING:
    from lens.analysis.instruments.instrument import Measure, Size
    from lens.analysis.instruments.sample import Sample
    from lens.analysis.score_results import HeadScore
    from lens.config import Config
    from lens.hooked import HookedTransformer
    from lens.progress import Progress

TOKENS = 64  # drawn from the vocabulary
EXPECTED = by_model(*[Expected(FOUND, 1.0), Expected(INSIDE)] * 2, Expected(FOUND, 1.0))


def _measure(k: int) -> "Measure":
    def measure(model: "HookedTransformer", sample: "Sample", progress: "Progress") -> "HeadScore":
        # The registry of instruments imports no torch.
        import torch

        from lens.analysis.head_vocabulary import OwnRanks, copying_accuracy, own_ranks_of, share_by_chance
        from lens.analysis.score_results import HeadScore
        from lens.analysis.stats import Estimate
        from lens.analysis.verdicts import exceeds, too_few

        cfg, seed, layers = model.cfg, 0 if sample.repeated is None else sample.repeated.seed, []
        for layer in range(cfg.n_layers):
            layers.append(own_ranks_of(layer, model, n_tokens=TOKENS, seed=seed))
            progress((layer + 1) / cfg.n_layers, f"layer {layer} of {cfg.n_layers}")
        ranks = OwnRanks(layers[0].ids, torch.cat([one.rank for one in layers]), *layers[0][2:])
        found, shape = copying_accuracy(ranks, k), (cfg.n_layers, cfg.n_heads)
        share, low, high = (None if one is None else one.reshape(shape) for one in (found.share, found.low, found.high))
        few, threshold = too_few(found.n, "tokens"), share_by_chance(found, share.numel())
        hits = (ranks.rank <= k - 1).float().T.unflatten(1, shape)
        return HeadScore(
            {1: TOP_1, 10: TOP_10}[k].kind("weights"),
            hits,
            Estimate(share, low, high, found.n, f"95% exact binomial interval over {found.n} tokens, seed {seed}"),
            None,
            torch.full(shape, found.chance),
            None,
            None if few else threshold,
            None if few else exceeds(share, threshold),
            few,
            found.chance,
            0,
            f"more tokens than k/d_vocab gives any of all {share.numel()} heads in 95% of cases (binomial, Bonferroni)",
        )

    return measure


def _cost(cfg: "Config", size: "Size") -> Cost:
    return Cost(0, 4 * cfg.n_layers * cfg.n_heads * cfg.d_head * cfg.d_vocab * (TOKENS + cfg.d_model))


def _top(k: int, **more: object) -> Instrument:
    return Instrument(
        name=f"ov_top{k}",
        title=f"OV diagonal, top {k}",
        unit="share of tokens",
        link="copies",
        definition=f"Share of {TOKENS} tokens drawn from the vocabulary whose own logit the head would raise "
        f"{'most' if k == 1 else f'more than all but {k - 1} others'} by attending to them (full OV circuit, norms "
        "folded in).",
        null="k/d_vocab: a token that has nothing to do with what is written",
        source="Elhage et al. 2021; interval: Clopper and Pearson 1934",
        formula=r"\operatorname{mean}_t \big[ \operatorname{rank}_t\, (W_E W_V W_O W_U)_{t,\cdot} < k \big], \qquad "
        f"k = {k}",
        misreading="A high share says which token a head would raise, not by how much nor whether it ever looks there. "
        "And it is unforgiving: a head that raises all forms of a word a little more than the word itself has 0.",
        cost=_cost,
        fooled_by="Size, and use: planted-offset's head copies every token, by its weights, and does no induction.",
        habit="would raise the token they look at",
        of_model=_measure(k),
        **more,
    )


TOP_1 = _top(1, needs=Needs(("weights",), vocabulary=10), expected=EXPECTED)
TOP_10 = _top(10, needs=Needs(("weights",), vocabulary=100))
