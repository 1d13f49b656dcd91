"""The tokenizer of the planted models: one token per character, 62 of them, in lower case and without accents."""

from string import ascii_lowercase, digits

from tokenizers import Regex, Tokenizer, decoders, normalizers, pre_tokenizers
from tokenizers.models import WordLevel
from transformers import PreTrainedTokenizerFast

BOS, UNKNOWN = "<bos>", "<unk>"
CHARACTERS = ascii_lowercase + digits + " \n" + ".,;:!?'\"()[]{}<>-_+*/=&#"


def make_tokenizer() -> PreTrainedTokenizerFast:
    """Ids: 0 ``<bos>``, 1 ``<unk>`` (any other character), then the characters in order."""
    vocab = {token: i for i, token in enumerate([BOS, UNKNOWN, *CHARACTERS])}
    tokenizer = Tokenizer(WordLevel(vocab, unk_token=UNKNOWN))
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.Replace(Regex("[‘’]"), "'"),
            normalizers.Replace(Regex("[“”]"), '"'),
            normalizers.NFD(),
            normalizers.StripAccents(),
            normalizers.Lowercase(),
        ]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    tokenizer.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=BOS, unk_token=UNKNOWN, clean_up_tokenization_spaces=False
    )
