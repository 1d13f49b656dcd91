"""``transformer_lens.components``: the parts of a model under their classic names."""

from lens.attention import Attention
from lens.components import MLP, Embed, Norm, Unembed
from lens.config import Config
from lens.model import Block as TransformerBlock
from lens.positions import PosEmbed

__all__ = ["MLP", "Attention", "Embed", "GatedMLP", "LayerNorm", "PosEmbed", "RMSNorm", "TransformerBlock", "Unembed"]

GatedMLP = MLP  # gated where cfg.gated_mlp says so


class LayerNorm(Norm):
    """LayerNorm over ``length`` numbers, d_model by default."""

    def __init__(self, cfg: Config, length: int | None = None):
        super().__init__("LN", cfg.norm_eps, length or cfg.d_model)


class RMSNorm(Norm):
    """RMSNorm over ``length`` numbers, d_model by default."""

    def __init__(self, cfg: Config, length: int | None = None):
        super().__init__("RMS", cfg.norm_eps, length or cfg.d_model)
