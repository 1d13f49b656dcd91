"""Reading a Hugging Face config so that nothing in it is passed over in silence."""

import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

from lens.config import MOST_LAYERS

# Attributes of a config file that change no number of the forward pass: what every config of transformers may have, now
# or in former versions, what only training reads, how attention is computed, and what tools write for themselves. A
# name with an underscore before it is private to the program that wrote the file.
HARMLESS = re.compile(
    r"(_\w+|architectures|model_type|torch_dtype|dtype|transformers_version|use_cache|initializer_range|"
    r"init_std|(bos|eos|pad|sep|cls|unk|decoder_start)_token_id|.*dropout.*|.*_pdrop|layerdrop|summary_.*|"
    r"name_or_path|task_specific_params|id2label|label2id|num_labels|problem_type|finetuning_task|"
    r"torchscript|use_bfloat16|tf_legacy_loss|tie_encoder_decoder|cross_attention_hidden_size|"
    r"gradient_checkpointing|output_\w+|return_dict\w*|chunk_size_feed_forward|is_encoder_decoder|is_decoder|prefix|"
    r"license|language|tokenizer_\w+|attn_implementation\w*|use_flash_attn\w*|use_flash_attention\w*|"
    r"unsloth_\w+|transformers\.js_config)"
)


class Attributes:
    """A Hugging Face config, or a part of one, that remembers what was read. ``inside``: the name of the part."""

    def __init__(self, values: Mapping[str, Any], inside: str = ""):
        self.values, self.read, self.inside = values, set(), inside

    def __getitem__(self, name: str) -> Any:
        self.read.add(name)
        if self.values.get(name) is None:
            raise ValueError(f"The config has no {name!r}, which a {self.model_type} model needs.")
        return self._bounded(name, self.values[name])

    @property
    def model_type(self) -> str:
        """What the config calls its architecture."""
        return self.values.get("model_type") or "Lens"

    def get(self, name: str, default: Any = None) -> Any:
        """The attribute, or ``default`` where the file leaves it out or says null."""
        self.read.add(name)
        value = self.values.get(name)
        return default if value is None else self._bounded(name, value)

    def _bounded(self, name: str, value: Any) -> Any:
        """ValueError for more layers than there can be, before a list of them is made."""
        if "layer" in name and isinstance(value, int) and value > MOST_LAYERS:
            raise ValueError(f"The config says {name}={value}; Lens reads models of at most {MOST_LAYERS:,} layers.")
        return value

    def only(self, name: str, *allowed: Any) -> None:
        """ValueError unless the attribute is absent, null, or one of ``allowed``."""
        value = self.get(name)
        if value is not None and value not in allowed:
            wanted = " or ".join(map(repr, allowed)) or "nothing"
            raise ValueError(
                f"The config says {name}={value!r}; Lens computes such models only with {wanted}. "
                f"{self._way_out([name])}"
            )

    def ignore(self, *names: str) -> None:
        """Attributes that this architecture's code does not use, or that concern only how it computes, not what."""
        self.read.update(names)

    def refuse_quantised(self) -> None:
        """ValueError where the weights are stored in another form than numbers."""
        if self.get("quantization_config"):
            raise ValueError(
                "The weights are quantised (quantization_config). Open the unquantised model, or a GGUF file."
            )

    def refuse_unread(self) -> None:
        """ValueError naming every attribute that nobody read and that may matter."""
        unread = sorted(name for name in self.values if name not in self.read and not HARMLESS.fullmatch(name))
        unread = [name for name in unread if not _says_nothing(name, self.values[name])]
        generation = _generation_settings() if unread else frozenset()
        unread = [name for name in unread if name not in generation]
        if unread:
            raise ValueError(
                f"This {self.model_type} config has {', '.join(unread)}, which Lens does not know. "
                f"It is refused because the numbers could be wrong. {self._way_out(unread)}"
            )

    def _way_out(self, names: list[str]) -> str:
        inside = [f"{self.inside}.{name}" if self.inside else name for name in names]
        return f"from_pretrained(…, ignore={inside}) computes as if that were not there, and every figure says so."


def _says_nothing(name: str, value: Any) -> bool:
    """Whether a value asks for nothing: absent, empty, or full attention in every layer."""
    if value is None or value in ({}, [], ""):
        return True
    return name == "layer_types" and isinstance(value, list) and all(kind == "full_attention" for kind in value)


@cache
def _generation_settings() -> frozenset[str]:
    """What transformers keeps in a generation config: how tokens are drawn from logits, never how these are made."""
    from transformers import GenerationConfig

    return frozenset(GenerationConfig().to_dict())


class Shortened(NamedTuple):
    """A config without what its reader was told to ignore, and the sentence that says so; empty if nothing was."""

    config: dict[str, Any]
    note: str


def ignoring(config: Mapping[str, Any], names: Sequence[str]) -> Shortened:
    """``config`` as if it did not have the attributes ``names``; ``"text_config.x"`` is one of a part.

    ValueError for a name that it does not have: it would be a slip of the pen.
    """
    shorter, said = dict(config), []
    for name in names:
        part, _, inner = name.rpartition(".")
        if part:
            shorter[part] = dict(shorter.get(part) or {})
        within = shorter[part] if part else shorter
        if inner not in within:
            raise ValueError(f"ignore={name!r}: the config has no such attribute. It has {', '.join(sorted(within))}.")
        said.append(f"{name}={within.pop(inner)!r}")
    if not said:
        return Shortened(shorter, "")
    return Shortened(shorter, f"Computed as if its config did not say {', '.join(said)}, which may be wrong.")
