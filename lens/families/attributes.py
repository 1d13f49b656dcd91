"""Reading a Hugging Face config so that nothing in it is passed over in silence."""

import re
from collections.abc import Mapping
from typing import Any

# Attributes of a config file that change no number of the forward pass.
HARMLESS = re.compile(
    r"(_name_or_path|architectures|model_type|torch_dtype|dtype|transformers_version|use_cache|initializer_range|"
    r"init_std|(bos|eos|pad|sep|cls|unk|decoder_start)_token_id|.*dropout.*|.*_pdrop|layerdrop|summary_.*|"
    r"task_specific_params|id2label|label2id|problem_type|finetuning_task|transformers\.js_config|"
    r"gradient_checkpointing|output_\w+|return_dict\w*|chunk_size_feed_forward|is_encoder_decoder|is_decoder|prefix|"
    r"license|language|tokenizer_\w+|cache_implementation|_attn_implementation\w*)"
)


class Attributes:
    """A Hugging Face config, or a part of one, that remembers what was read."""

    def __init__(self, values: Mapping[str, Any]):
        self.values, self.read = values, set()

    def __getitem__(self, name: str) -> Any:
        self.read.add(name)
        if self.values.get(name) is None:
            raise ValueError(f"The config has no {name!r}, which a {self.model_type} model needs.")
        return self.values[name]

    @property
    def model_type(self) -> str:
        """What the config calls its architecture."""
        return self.values.get("model_type") or "Lens"

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
        if unread:
            raise ValueError(
                f"This {self.model_type} config has {', '.join(unread)}, which Lens does not know. "
                "It is refused because the numbers could be wrong."
            )
