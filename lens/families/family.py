"""What an architecture is: a reading of its config and a table of its weights. Nothing here computes."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from einops import EinopsError, rearrange
from torch import Tensor

from lens.config import Config

# Attributes of a config file that change no number of the forward pass.
HARMLESS = re.compile(
    r"(_name_or_path|architectures|model_type|torch_dtype|dtype|transformers_version|use_cache|initializer_range|"
    r"(bos|eos|pad|sep|cls|unk|decoder_start)_token_id|.*dropout.*|.*_pdrop|summary_.*|task_specific_params|id2label|"
    r"label2id|problem_type|finetuning_task|transformers\.js_config|gradient_checkpointing|output_\w+|return_dict\w*|"
    r"chunk_size_feed_forward|is_encoder_decoder|is_decoder|prefix|license|language|_attn_implementation\w*)"
)
QUANTISED = "quantization_config"


class Attributes:
    """A Hugging Face config that remembers what was read, so that nothing in it is passed over in silence."""

    def __init__(self, values: Mapping[str, Any]):
        self.values, self.read = values, set()

    def __getitem__(self, name: str) -> Any:
        self.read.add(name)
        if name not in self.values:
            raise ValueError(f"The config has no {name!r}, which a {self.values['model_type']} model needs.")
        return self.values[name]

    def get(self, name: str, default: Any = None) -> Any:
        """The attribute, or ``default`` where the file leaves it out or says null."""
        self.read.add(name)
        value = self.values.get(name)
        return default if value is None else value

    def only(self, name: str, *allowed: Any) -> None:
        """ValueError unless the attribute is absent, null, or one of ``allowed``."""
        value = self.get(name)
        if value is not None and value not in allowed:
            wanted = " or ".join(map(repr, allowed)) or "nothing"
            raise ValueError(f"The config says {name}={value!r}; Lens computes such models only with {wanted}.")

    def refuse_unread(self) -> None:
        """ValueError naming every attribute that nobody read and that may matter."""
        unread = sorted(name for name in self.values if name not in self.read and not HARMLESS.fullmatch(name))
        if unread:
            raise ValueError(
                f"This {self.values['model_type']} config has {', '.join(unread)}, which Lens does not know. "
                "It is refused because the numbers could be wrong."
            )


@dataclass(frozen=True)
class Family:
    """One architecture as data.

    ``weights`` and ``layer_weights`` map our parameter (several, joined by "|", for a packed one) to the name in the
    file and an einops pattern whose sizes come from the config. ``zeros`` are our biases that the architecture lacks.
    ``prefixes`` may or may not stand before a name in the file; ``unused`` are patterns of names that hold no weight.
    """

    model_type: str
    read: Callable[[Attributes], Config]
    weights: Mapping[str, tuple[str, str]]
    layer: str
    layer_weights: Mapping[str, tuple[str, str]]
    prefixes: tuple[str, ...]
    zeros: Mapping[str, str] = field(default_factory=dict)
    unused: tuple[str, ...] = ()

    def config(self, hf_config: Mapping[str, Any]) -> Config:
        """Our config from theirs; ValueError names an attribute that Lens does not compute."""
        attributes = Attributes(hf_config)
        if hf_config.get(QUANTISED):
            raise ValueError(
                "The weights are quantised (quantization_config). Open the unquantised model, or a GGUF file."
            )
        cfg = self.read(attributes)
        attributes.refuse_unread()
        return cfg

    def table(self, cfg: Config, names: set[str]) -> dict[str, tuple[str, str]]:
        """The whole table for a model of this size: ours → (name in the file, pattern)."""
        table = dict(self.weights)
        if cfg.tied:
            table.pop("unembed.W_U", None)
        for layer in range(cfg.n_layers):
            for ours, (theirs, pattern) in self.layer_weights.items():
                full = "|".join(f"blocks.{layer}.{one}" for one in ours.split("|"))
                table[full] = (f"{self.layer.format(layer)}.{theirs}", pattern)
        return {ours: (self.find(theirs, names), pattern) for ours, (theirs, pattern) in table.items()}

    def find(self, theirs: str, names: set[str]) -> str:
        """The name under which the file holds ``theirs``: with a base prefix or without one."""
        bare = next((theirs.removeprefix(p) for p in self.prefixes if theirs.startswith(p)), theirs)
        for candidate in (theirs, bare, *(prefix + bare for prefix in self.prefixes)):
            if candidate in names:
                return candidate
        raise ValueError(
            f"The weights of this {self.model_type} model lack {theirs!r}. The file is incomplete or of another kind."
        )


def _fit(tensor: Tensor, theirs: str, pattern: str, cfg: Config) -> Tensor:
    used = {axis: size for axis, size in cfg.axes.items() if re.search(rf"\b{axis}\b", pattern)}
    try:
        return rearrange(tensor, pattern, **used)
    except EinopsError as error:
        raise ValueError(
            f"{theirs!r} has shape {list(tensor.shape)}; the config wants '{pattern}' with {used}."
        ) from error


def _for_forward(ours: str, tensor: Tensor) -> Tensor:
    """W_Q, W_K, W_V in the memory order [head, d_head, d_model] that the forward reads without re-arranging."""
    if ours.endswith(("attn.W_Q", "attn.W_K", "attn.W_V")):
        return tensor.transpose(-1, -2).contiguous().transpose(-1, -2)
    return tensor


def convert(family: Family, cfg: Config, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Our state dict from the file's tensors, each read once and, where the layouts agree, not copied.

    ValueError names a tensor that is missing, left over, or of the wrong size.
    """
    names = set(tensors)
    state: dict[str, Tensor] = {}
    table = family.table(cfg, names)
    for ours, (theirs, pattern) in table.items():
        tensor = _fit(tensors[theirs], theirs, pattern, cfg)
        packed = ours.split("|")
        for name, part in zip(packed, tensor if len(packed) > 1 else [tensor], strict=True):
            state[name] = _for_forward(name, part)
    left = names - {theirs for theirs, _ in table.values()}
    unused = (*family.unused, *((r"(.*\.)?lm_head\.weight",) if cfg.tied else ()))
    left = sorted(name for name in left if not any(re.fullmatch(pattern, name) for pattern in unused))
    if left:
        raise ValueError(
            f"{family.model_type}: {len(left)} tensors have no place in Lens, for example {', '.join(left[:3])}."
        )
    if cfg.tied:
        state["unembed.W_U"] = state["embed.W_E"].T
    return state | _zeros(family, cfg, like=state["embed.W_E"])


def _zeros(family: Family, cfg: Config, like: Tensor) -> dict[str, Tensor]:
    zeros = {}
    for ours, axes in family.zeros.items():
        shape = [cfg.axes[axis] for axis in axes.split()]
        layers = range(cfg.n_layers) if ours.startswith("blocks.{}.") else [0]
        zeros |= {ours.format(layer): torch.zeros(shape, dtype=like.dtype, device=like.device) for layer in layers}
    return zeros
