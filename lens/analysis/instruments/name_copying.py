"""Name copying: would a head raise, or lower, the very name that it looks at?"""

from typing import TYPE_CHECKING

from lens.analysis.instruments.instrument import Cost, Instrument, Needs

if TYPE_CHECKING:
    from lens.analysis.instruments.instrument import Measure, Size
    from lens.analysis.instruments.sample import Sample
    from lens.analysis.score_results import HeadScore
    from lens.config import Config
    from lens.hooked import HookedTransformer
    from lens.progress import Progress

TOP, NAMES, TURNS = 5, 48, 21  # TURNS: the head as it is, and its rotations


def _lacks_names(model: "HookedTransformer") -> str | None:
    from lens.analysis.stats import MIN_SAMPLES  # the registry of instruments imports no torch
    from lens.analysis.word_sets import single_names

    n = len(single_names(model))
    return None if n >= MIN_SAMPLES else f"{n} common names are single tokens of this model, {MIN_SAMPLES} are needed"


def _measure(lowered: bool) -> "Measure":
    def measure(model: "HookedTransformer", sample: "Sample", progress: "Progress") -> "HeadScore":
        # The registry of instruments imports no torch.
        from lens.analysis.set_shares import own_hits, shares_score
        from lens.analysis.word_sets import single_names

        ids = single_names(model)
        one = NEGATIVE if lowered else COPYING
        kind = one.kind("weights", here=f"Here: {len(ids)} names.")
        return shares_score(kind, own_hits(model, ids, TOP, lowered, progress=progress), "names")

    return measure


def _cost(cfg: "Config", size: "Size") -> Cost:
    columns = min(cfg.d_vocab, 2048)  # that most rows need; some are formed in full
    few = cfg.d_head * columns * (cfg.d_model + TURNS * NAMES) + 10 * cfg.d_model * cfg.d_vocab
    return Cost(0, 2 * cfg.n_layers * cfg.n_heads * few)


def _one(lowered: bool, **words: str) -> Instrument:
    return Instrument(
        unit="share of names",
        link="copies",
        null="the head's own OV with a random rotation between W_V and W_O, 20 for each head",
        source="Wang et al. 2022",
        needs=Needs(("weights",), vocabulary=10 * TOP, words=_lacks_names),
        cost=_cost,
        of_model=_measure(lowered),
        **words,
    )


READS = "by attending to them, from the token's embedding with the first MLP's output, through the final norm and W_U"
COPYING = _one(
    False,
    name="name_copying",
    title="Name copying",
    definition=f"Share of common names whose own logit is among the {TOP} that the head would raise most {READS}.",
    formula=r"\operatorname{mean}_{t \in \text{names}} \big[ \operatorname{rank}_t (W_{OV} W_U)_{t,\cdot} < 5 \big]",
    misreading="Heads that copy any token copy names as well: look at the OV diagonal beside it. And whether the head "
    "ever looks at a name is not in its weights.",
    habit="would raise the name they look at",
)
NEGATIVE = _one(
    True,
    name="name_copying_negative",
    title="Name copying, negative",
    definition=f"Share of common names whose own logit is among the {TOP} that the head would lower most {READS}.",
    formula=r"\operatorname{mean}_{t \in \text{names}} \big[ \operatorname{rank}_t (-W_{OV} W_U)_{t,\cdot} < 5 \big]",
    misreading="A head that lowers what it looks at may still help: it can temper a prediction that others overdo. And "
    "whether it ever looks at a name is not in its weights.",
    habit="would lower the name they look at",
)
