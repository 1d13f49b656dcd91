"""``transformer_lens.past_key_value_caching``: what was read before, for ``model(new_tokens, past_kv_cache=…)``."""

from typing import Any, Self

from lens.attention import KeyValues
from lens.config import Config


class HookedTransformerKeyValueCache(KeyValues):
    """Keys and values of the tokens already read; each forward pass with it adds its own."""

    @classmethod
    def init_cache(cls, cfg: Config, device: Any = None, batch_size: int = 1) -> Self:
        """An empty one."""
        return cls()
