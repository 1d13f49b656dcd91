"""What a training run is, in numbers: the structure, the optimiser and how often it saves."""

import math
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from lens.config import Config
from lens.hooked import HookedTransformer
from lens.load.folder import read_token_counts
from lens.load.tokenizer import read_tokenizer
from lens.tokens import BosPolicy
from lens.train.batches import Plan
from lens.train.vocabulary import BOS


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One run. Rates are the largest of the schedule; ``seed`` decides the initial weights and the repeats.

    ``position_size`` is the amplitude of the sinusoids that positions begin as; an embedding begins at about 0.07 a
    coordinate. ``data_seed`` decides the order of contexts, and is the same for every run unless told otherwise.
    """

    n_layers: int = 2
    n_heads: int = 4
    d_model: int = 128
    d_head: int = 64
    n_ctx: int = 256
    batch: int = 8
    steps: int = 6000
    seed: int = 0
    data_seed: int = 0
    repeat_share: float = 0.1
    shortest_repeat: int = 64
    muon_rate: float = 0.02
    adam_rate: float = 3e-3
    weight_decay: float = 0.0
    muon_weight_decay: float = 0.05
    clip: float = 1.0
    warm_up: int = 200
    decay_share: float = 0.1
    position_size: float = 0.5
    save_every: int = 100

    def __post_init__(self) -> None:
        if not 0 <= self.repeat_share <= 0.1:
            raise ValueError(f"repeat_share={self.repeat_share}: at most a tenth of the contexts may hold a repeat.")

    @property
    def tokens_per_step(self) -> int:
        """Positions read in one step."""
        return self.batch * self.n_ctx

    def plan(self) -> Plan:
        """How contexts are cut from the text."""
        return Plan(self.batch, self.n_ctx, self.repeat_share, self.shortest_repeat, self.data_seed, self.seed)

    def config(self, d_vocab: int) -> Config:
        """Attention-only, LayerNorm, learned positions, untied unembedding."""
        names = ("n_layers", "n_heads", "d_model", "d_head", "n_ctx")
        return Config(**{name: getattr(self, name) for name in names}, d_vocab=d_vocab)

    def as_dict(self) -> dict:
        """For the files of a run."""
        return asdict(self)


def sinusoids(n_ctx: int, d_model: int) -> Tensor:
    """Sines and cosines of the position, [n_ctx, d_model], of amplitude 1. Source: Vaswani et al. 2017, section 3.5."""
    angles = torch.arange(n_ctx)[:, None] * torch.exp(torch.arange(0, d_model, 2) * (-math.log(10_000) / d_model))
    return torch.stack([angles.sin(), angles.cos()], -1).flatten(1)[:, :d_model]


def new_model(recipe: Recipe, corpus: Path) -> HookedTransformer:
    """The model before its first step: random weights, positions that begin as sinusoids and are then learned.

    ``corpus`` is the folder that holds its tokenizer and the counts of its tokens.
    """
    torch.manual_seed(recipe.seed)
    tokenizer = read_tokenizer(corpus, {})
    bos = BosPolicy(tokenizer.convert_tokens_to_ids(BOS), BOS, True, "every training context began with it")
    model = HookedTransformer(recipe.config(len(tokenizer)), tokenizer, bos, name=f"lens-{recipe.n_layers}l")
    model.token_counts = read_token_counts(corpus, len(tokenizer))
    model.pos_embed.W_pos.data = recipe.position_size * sinusoids(recipe.n_ctx, recipe.d_model)
    return model


def trained(model: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters that training changes. Biases of attention and of the unembedding stay zero."""
    last = ("b_Q", "b_K", "b_V", "b_O", "b_U")
    return {name: one for name, one in model.named_parameters() if not name.endswith(last)}
