"""Other weights in the same model: loading the next checkpoint costs its read and nothing else."""

from collections.abc import Mapping
from dataclasses import fields

import torch
from torch import Tensor

from lens.components import same_values
from lens.load.checkpoints import Checkpoint, Checkpoints, checkpoints
from lens.load.folder import read_weights
from lens.load.sources import locate
from lens.model import Transformer
from lens.progress import Progress, part, silent


@torch.no_grad()
def swap_weights(model: Transformer, state: Mapping[str, Tensor]) -> None:
    """Give ``model`` the values of ``state``. Its parameters stay the same objects, and tied weights stay tied.

    Nothing is copied where format and device agree: the model then uses the tensors of ``state`` themselves. ValueError
    names what is missing, left over or of another shape; the model is then as it was.
    """
    own = dict(model.named_parameters())
    if model.unembed.embed:
        state = without_tied(state)
    wrong = [name for name in sorted(own.keys() | state.keys()) if name not in own or name not in state]
    wrong += [name for name in sorted(own.keys() & state.keys()) if own[name].shape != state[name].shape]
    if wrong:
        raise ValueError(
            f"{len(wrong)} weights do not fit this model, for example {', '.join(wrong[:3])}. "
            "They are of a model of another structure; open that one for itself."
        )
    new = {name: state[name].detach().to(own[name].device, own[name].dtype) for name in own}
    for name, parameter in own.items():
        parameter.data, parameter.grad = new[name], None


def without_tied(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights of a tied model by their first names; ValueError if W_U is not W_E turned."""
    W_E, W_U = state.get("embed.W_E"), state.get("unembed.W_U")
    if W_E is not None and W_U is not None and not same_values(W_U, W_E.T):
        raise ValueError(
            "These weights have a W_U that is not W_E turned, and this model has one matrix for both. "
            "They are of a model of another structure; open that one for itself."
        )
    return {name: tensor for name, tensor in state.items() if name != "unembed.W_U"}


class CheckpointVerbs:
    """What moves a model along its own training. Needs ``name``, ``device``, ``dtype``, ``cfg`` and ``ignored``."""

    def load_checkpoint(
        self,
        index: int | None = None,
        value: int | None = None,
        *,
        of: Checkpoints | None = None,
        progress: Progress = silent,
    ) -> Checkpoint:
        """Another point of the training in this same model: its weights change in place, nothing else is rebuilt.

        Give the ``index`` (negative: from the end) or the ``value`` (tokens or steps). A read that fails leaves the
        model as it was. Whoever else uses this model sees its weights change: a sweep over checkpoints needs a model of
        its own. ``of``: the list to choose from; by default the one the model was opened from, else what
        ``checkpoints`` finds under the model's name. ValueError if the model's weights were processed (folded,
        centred): its own are raw.
        """
        run = of or self.checkpoints or checkpoints(self.name)
        chosen = run.at(index, value)
        source = locate(run.entry, None, part(progress, 0.0, 0.8), checkpoint=(run, chosen))
        devices = {parameter.device for parameter in self.parameters()}
        device = self.device if len(devices) == 1 else torch.device("cpu")  # no one of several need hold all of it
        cfg, state, _ = read_weights(source, device, self.dtype, part(progress, 0.8, 1.0), ignore=self.ignored)
        different = [field.name for field in fields(cfg) if getattr(cfg, field.name) != getattr(self.cfg, field.name)]
        if different:
            raise ValueError(
                f"{source.revision} of {run.entry.alias} differs from this model in {', '.join(different)}. "
                "Checkpoints go into a model that was opened from the same run with its weights as they are in "
                "the file."
            )
        swap_weights(self, state)
        self.revision, self.checkpoint, self.checkpoints = source.revision, chosen, run
        return chosen
