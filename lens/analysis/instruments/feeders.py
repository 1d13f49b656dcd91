"""The strongest feeder: how much of what an earlier head writes a head reads by its queries, keys or values."""

from typing import TYPE_CHECKING

from lens.analysis.instruments.instrument import FOUND, INSIDE, Cost, Expected, Instrument, Needs, by_model
from lens.planted import closed_form as exact

if TYPE_CHECKING:
    from lens.analysis.instruments.instrument import Measure, Size
    from lens.analysis.instruments.sample import Sample
    from lens.analysis.score_results import HeadScore
    from lens.config import Config
    from lens.hooked import HookedTransformer
    from lens.progress import Progress

READS = {  # what of the later head reads, and its matrix in words and in LaTeX
    "Q": ("queries", "QK", "W_{QK}^{2}"),
    "K": ("keys", "QKᵀ", r"W_{QK}^{2\top}"),
    "V": ("values", "OV", "W_{OV}^{2}"),
}
_NONE = Expected(INSIDE)
_FED = Expected(FOUND, exact.composition())


def _measure(mode: str) -> "Measure":
    def measure(model: "HookedTransformer", sample: "Sample", progress: "Progress") -> "HeadScore":
        # The registry of instruments imports no torch.
        import torch

        from lens.analysis.composition import composition
        from lens.analysis.score_results import Tested, weights_score

        found = composition(model, mode, progress=progress)
        best = found.scores.flatten(0, 1).nan_to_num(-1).amax(0).cpu()
        best = best.masked_fill(best < 0, torch.nan)
        above = found.beyond().flatten(0, 1).any(0).cpu()
        null = torch.full_like(best, found.null).masked_fill(best.isnan(), torch.nan)
        rule = (
            "some earlier head passes more than the strongest pair of all would under random rotations in 95% of cases"
        )
        return weights_score(FEEDERS[mode].kind("weights"), best, null[None], Tested(above, rule))

    return measure


def why_not_bilinear(cfg: "Config") -> str | None:
    from lens.analysis.head_weights import why_not_bilinear  # the registry of instruments imports no torch

    return why_not_bilinear(cfg)


def _cost(cfg: "Config", size: "Size") -> Cost:
    return Cost(0, 2 * (cfg.n_layers * cfg.n_heads) ** 2 * cfg.d_head**2 * cfg.d_model // 2)


def _feeder(mode: str, expected: dict[str, Expected]) -> Instrument:
    part, name, reads = READS[mode]
    return Instrument(
        name=f"feeder_{mode.lower()}",
        title=f"Strongest feeder by {mode}",
        unit="share of the product of norms",
        link="is fed",
        definition=f"The largest {mode}-composition with any earlier head: the share of what that head writes that "
        f"this one reads by its {part}, ‖W_OV W_{name}‖ over the product of both norms (Frobenius); none in layer 0.",
        null="1/√d_model, what a random rotation between the two gives on average",
        source="Elhage et al. 2021",
        formula=rf"C = \max_{{h_1}} \frac{{\lVert W_{{OV}}^{{1}} {reads} \rVert_F}}"
        rf"{{\lVert W_{{OV}}^{{1}} \rVert_F \lVert {reads} \rVert_F}}",
        misreading="Weights say what could pass between two heads, not what does: the earlier head may write nothing "
        "that matters where the later one reads. A head in a late layer has more senders, so a larger maximum.",
        needs=Needs(("weights",), layers=2, **({} if mode == "V" else {"refuses": why_not_bilinear})),
        cost=_cost,
        habit=f"read by their {part} what an earlier head writes",
        fooled_by="Size: the score does not see it. A head of a thousandth of the strength composes as well, and "
        "planted-decoy, which does nothing, composes like planted-induction.",
        expected=expected,
        of_model=_measure(mode),
    )


FEEDER_Q = _feeder("Q", by_model(*[_NONE] * 5))
FEEDER_K = _feeder("K", by_model(_FED, _FED, _NONE, _FED, _FED))
FEEDER_V = _feeder("V", by_model(*[_NONE] * 5))
FEEDERS = {"Q": FEEDER_Q, "K": FEEDER_K, "V": FEEDER_V}
