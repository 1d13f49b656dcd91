"""What every part of a model wrote into the stream at some places of a run, and how far that goes along a direction."""

from collections.abc import Iterator, Sequence
from copy import copy

import torch
from jaxtyping import Float
from torch import Tensor

from lens.analysis.answer.head_inputs import Write
from lens.analysis.circuit_weights import constant_values, output_weights, write_through
from lens.analysis.direct_paths import head_parts
from lens.components import Norm, at_least_float32
from lens.hooked import HookedTransformer
from lens.hooks import HookPoint, hooks


class Writes:
    """What every part of the model wrote in one run, at one place of each row."""

    def __init__(
        self,
        model: HookedTransformer,
        tokens: Tensor,
        pos: Tensor,
        mask: Tensor | None,
        also: Sequence[str] = (),
        whole: Sequence[str] = (),
        prompt: Tensor | None = None,
    ) -> None:
        """``pos``: of each row, in the prompt of that number, or in ``prompt`` where that is given.

        ``also``: more activations [prompt, pos, …] at these places; ``whole``: at all positions.
        """
        cfg = model.cfg
        prompt = torch.arange(len(tokens)) if prompt is None else prompt
        self.model, self.rows = model, (prompt.to(model.device), pos.to(model.device))
        self.kept: dict[str, Tensor] = {}
        layers = range(cfg.n_layers)
        names = ["hook_embed", *(["hook_pos_embed"] if cfg.positions == "learned" else [])]
        names += [f"blocks.{layer}.attn.hook_z" for layer in layers]
        names += [] if cfg.attn_only else [f"blocks.{layer}.hook_mlp_out" for layer in layers]
        for part in ("ln1_post", *([] if cfg.attn_only else ["ln2_post"])):
            names += [
                f"blocks.{layer}.{part}.hook_scale"
                for layer in layers
                if isinstance(getattr(model.blocks[layer], part), Norm)
            ]
        kept = [([*names, *also], self._keep), *([(list(whole), self._keep_whole)] if whole else [])]
        with hooks(model, kept, writes=False):
            stream = model(tokens, attention_mask=mask, stop_at_layer=cfg.n_layers)
        self.final = self._at(stream)

    def repeated(self, n: int) -> "Writes":
        """The same run of one prompt as if it were ``n``: what is written is read along as many directions."""
        other = copy(self)
        other.kept = {name: x.expand(n, *x.shape[1:]) for name, x in self.kept.items()}
        other.final = self.final.expand(n, -1)
        return other

    def _at(self, x: Tensor) -> Float[Tensor, "row *axes"]:
        rows, pos = (one.to(x.device) for one in self.rows)
        rows = rows if len(x) > 1 else torch.zeros_like(rows)
        return at_least_float32(x[rows, pos]).to(self.model.unembed.b_U.device)

    def _keep(self, x: Tensor, hook: HookPoint) -> None:
        self.kept[hook.name] = self._at(x)

    def _keep_whole(self, x: Tensor, hook: HookPoint) -> None:
        self.kept[hook.name] = at_least_float32(x).to(self.model.unembed.b_U.device)

    def __getitem__(self, name: str) -> Tensor:
        return self.kept[name]


def written(run: Writes, onto: Float[Tensor, "row d_model"]) -> Iterator[tuple[list[Write], Tensor]]:
    """Labels and products with the direction [row, part] of all that is written, in order."""
    model, cfg = run.model, run.model.cfg
    yield [Write("embedding")], (run["hook_embed"] * onto).sum(-1, keepdim=True)
    if cfg.positions == "learned":
        yield [Write("positions")], (run["hook_pos_embed"] * onto).sum(-1, keepdim=True)
    biases = torch.zeros(len(onto), 1, device=onto.device)
    for layer, block in enumerate(model.blocks):
        heads, bias = _attention(run, layer, onto)
        biases += bias[:, None]
        yield [Write("head", layer, head) for head in range(cfg.n_heads)], heads
        if not cfg.attn_only:
            bias = _through(run, layer, "ln2_post", block.mlp.b_out.float().to(onto.device).expand_as(onto), onto)
            yield [Write("mlp", layer)], ((run[f"blocks.{layer}.hook_mlp_out"] * onto).sum(-1) - bias)[:, None]
            biases += bias[:, None]
    yield [Write("biases")], biases


def _attention(run: Writes, layer: int, onto: Tensor) -> tuple[Float[Tensor, "row head"], Float[Tensor, " row"]]:
    """What each head of a layer adds, and what the constant part of its values and b_O do, which belong to none."""
    model, scale = run.model, post_scale(run, layer, "ln1_post")
    heads = head_parts(model, layer, run[f"blocks.{layer}.attn.hook_z"], onto) / scale
    always = torch.einsum("hd,hdm->m", constant_values(model, layer), output_weights(model, layer)).to(onto.device)
    b_O = model.blocks[layer].attn.b_O.to(onto).expand_as(onto)
    return heads, onto @ always / scale[:, 0] + _through(run, layer, "ln1_post", b_O, onto)


def post_scale(run: Writes, layer: int, name: str) -> Float[Tensor, "row 1"]:
    """What the norm after a part divides by at these places; 1 where there is none."""
    norm = getattr(run.model.blocks[layer], name)
    return run[f"blocks.{layer}.{name}.hook_scale"] if isinstance(norm, Norm) else run.final.new_ones(len(run.final), 1)


def _through(run: Writes, layer: int, name: str, x: Tensor, onto: Tensor) -> Float[Tensor, " row"]:
    """``x`` [row, d_model] past the norm that may follow, with that norm's own bias, times the direction."""
    norm = getattr(run.model.blocks[layer], name)
    through = write_through(norm, x) / post_scale(run, layer, name)
    own = norm.b.to(onto) if isinstance(norm, Norm) and norm.centred else 0
    return ((through + own) * onto).sum(-1)
