"""OV copying: would a head write the token it looks at, by the eigenvalues of its OV circuit?"""

from typing import TYPE_CHECKING

from lens.analysis.instruments.instrument import FOUND, INSIDE, REJECTED, Cost, Expected, Instrument, Needs, by_model

if TYPE_CHECKING:
    from lens.analysis.instruments.instrument import Measure, Size
    from lens.analysis.instruments.sample import Sample
    from lens.analysis.score_results import HeadScore
    from lens.config import Config
    from lens.hooked import HookedTransformer
    from lens.progress import Progress

DRAWS = 200  # rotations per head
NULL = (
    f"a random rotation between W_V and W_O, {DRAWS} for each head, which keeps what it reads and where it writes and "
    "loses which of it belongs together"
)
DEFINITION = (
    "Σλ / Σ|λ| over the eigenvalues λ of the head's {} OV circuit, {}: +1 when every direction comes back with its own "
    "sign (it copies), −1 when with the opposite sign, about 0 when reading and writing are unrelated."
)
MISREADING = (
    "Copying by weights is not copying in use: the head may never look where copying would help, and one that writes "
    "next to nothing has a score as well. Size is not in it."
)


def _measure(circuit: str) -> "Measure":
    def measure(model: "HookedTransformer", sample: "Sample", progress: "Progress") -> "HeadScore":
        # The registry of instruments imports no torch.
        import torch

        from lens.analysis.copying_verdicts import RULE, by_weights
        from lens.analysis.ov_copying import circuit_of, null_band, null_scores_of, ov_cores
        from lens.analysis.score_results import Tested, weights_score
        from lens.progress import part

        core = getattr(ov_cores(model, progress=part(progress, 0, 0.2)), circuit)
        found = circuit_of(torch.linalg.eigvals(core))
        seed, draws = 0 if sample.repeated is None else sample.repeated.seed, []
        for draw in range(DRAWS):
            draws.append(null_scores_of((draw, draw + 1), core, seed))
            progress(0.2 + 0.8 * (draw + 1) / DRAWS, f"rotation {draw + 1} of {DRAWS}")
        null = torch.cat(draws).cpu()
        score, largest = found.score.cpu(), found.eigenvalues.abs().amax(-1).cpu()
        side = by_weights(score, largest, null_band(null))
        one = {"full": OV_FULL, "residual": OV_RESIDUAL}[circuit]
        return weights_score(one.kind("weights"), score, null, Tested(side.sign > 0, RULE.partition(" On data")[0]))

    return measure


def _cost(cfg: "Config", size: "Size") -> Cost:
    eigenvalues = 125 * cfg.n_layers * cfg.n_heads * cfg.d_head**3
    # 25 d_head³ operations each, at a fifth of the speed of large products.
    return Cost(0, (1 + DRAWS) * eigenvalues + 2 * cfg.d_vocab * cfg.d_model**2)


_ONE = Expected(FOUND, 1.0)

OV_FULL = Instrument(
    name="ov_copying",
    title="OV copying, full circuit",
    unit="ratio",
    link="copies",
    definition=DEFINITION.format("full", "from embedding to logits"),
    null=NULL,
    source="Elhage et al. 2021",
    formula=r"\frac{\sum_i \lambda_i}{\sum_i |\lambda_i|}, \qquad \lambda = \operatorname{eig}(W_O M W_V), \quad "
    r"M = W_U \big(I - \tfrac{1}{d_{vocab}} 11^\top\big) W_E",
    misreading=MISREADING,
    needs=Needs(("weights",)),
    cost=_cost,
    scale="signed",
    habit="would raise the token they look at",
    fooled_by="Size again, and use: planted-offset's head copies, by its weights, though it does no induction.",
    expected=by_model(_ONE, Expected(INSIDE), _ONE, Expected(REJECTED, -1.0), _ONE),
    of_model=_measure("full"),
)

OV_RESIDUAL = Instrument(
    name="ov_residual",
    title="OV copying, residual circuit",
    unit="ratio",
    link="copies",
    definition=DEFINITION.format("residual", "from stream to stream"),
    null=NULL,
    source="Elhage et al. 2021",
    formula=r"\frac{\sum_i \lambda_i}{\sum_i |\lambda_i|}, \qquad \lambda = \operatorname{eig}(W_O W_V)",
    misreading=f"{MISREADING} In the stream, a direction that comes back need not be read as the same token.",
    needs=Needs(("weights",)),
    cost=_cost,
    scale="signed",
    habit="would write back the direction they read",
    fooled_by="All planted heads write where they do not read, so this circuit of theirs is dust, copying or not.",
    expected=by_model(*[Expected(INSIDE)] * 5),
    of_model=_measure("residual"),
)
