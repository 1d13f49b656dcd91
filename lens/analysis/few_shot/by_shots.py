"""Accuracy and probability of the answer by number of shots, with right and with shuffled labels, and the verdict."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from lens.analysis.few_shot.prompts import FewShot, few_shot_or_reason
from lens.analysis.few_shot.words import SHOTS
from lens.analysis.interventions.intervention import Metric
from lens.analysis.interventions.recording import record
from lens.analysis.interventions.tasks import Ability
from lens.analysis.interventions.tasks.task import judged
from lens.analysis.stats import Estimate, estimate, share, within
from lens.analysis.verdicts import rounding_of
from lens.components import at_least_float32
from lens.hooked import HookedTransformer

PROB = Metric("prob")
SIDES = ("clean", "corrupted")


class ByShots(NamedTuple):
    """One task by number of shots; row 0 of each is with right labels, row 1 with shuffled ones."""

    task: FewShot
    shots: tuple[int, ...]
    accuracy: Estimate  # [side, shots]: share of prompts whose answer leads all other tokens
    prob: Estimate  # [side, shots]: probability of the answer
    ability: Ability  # at the most shots: whether the model does the task


def read_task(name: str, model: HookedTransformer, seed: int = 0, prepend_bos: bool | None = None) -> ByShots | str:
    """:func:`by_shots` of the task made for ``model``, or why it is not applicable."""
    task = few_shot_or_reason(model, name, seed, prepend_bos)
    return task if isinstance(task, str) else by_shots(model, task, seed)


@torch.no_grad()
def by_shots(model: HookedTransformer, task: FewShot, seed: int = 0) -> ByShots:
    """What the model answers after every number of shots, and whether it does the task.

    The answer is right if it leads all other tokens. The model does the task by the rule for pairs of prompts (see
    ``ability``) at the most shots, the corrupted prompt being the one with shuffled labels.
    """
    read = [_read(model, task, side) for side in SIDES]
    prob, lead = (torch.stack(one, 1) for one in zip(*read))  # [prompt, side, shots]
    right = lead > rounding_of(lead)
    ends = tuple(prob[:, :, -1].T), tuple(lead[:, :, -1].T)
    ability = judged(*ends, task.pairs, PROB, seed=seed)
    probability = within(estimate(prob, "queries", seed), 0.0, 1.0)
    return ByShots(task, SHOTS, share(right, "queries"), probability, ability)


def _read(
    model: HookedTransformer, task: FewShot, side: str
) -> tuple[Float[Tensor, "prompt shots"], Float[Tensor, "prompt shots"]]:
    """Probability of the answer, and its logit minus that of the best other token, after every number of shots."""
    final = record(model, task.pairs, side, ()).final
    places, answers = (torch.tensor(one, device=final.device) for one in (task.places, task.answers))
    stream = final[torch.arange(len(final), device=final.device)[:, None], places]
    logits = at_least_float32(model.unembed(model.ln_final(stream)))
    answer = answers[..., None]
    prob = logits.log_softmax(-1).gather(-1, answer)[..., 0].exp()
    lead = logits.gather(-1, answer)[..., 0] - logits.scatter(-1, answer, -torch.inf).amax(-1)
    return prob.cpu(), lead.cpu()
