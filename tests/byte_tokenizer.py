"""A tokenizer of a token a byte, which adds BOS or EOS or neither, and what its ids must be."""

import re
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, decoders, pre_tokenizers, processors
from tokenizers.models import BPE
from transformers import PreTrainedTokenizerFast

SPECIAL = ("<unk>", "<pad>", "<eos>", "<bos>", "<eot>", "<user>", "<assistant>")
SIZE = len(SPECIAL) + 256
_BYTES = sorted(pre_tokenizers.ByteLevel.alphabet())


def tokenizer(
    *, template: str | None = None, bos: bool = False, eos: bool = False, more: tuple[str, ...] = ()
) -> Any:
    """The ids are those of SPECIAL, of the bytes and of `more` special tokens."""
    vocabulary = {token: index for index, token in enumerate([*SPECIAL, *_BYTES])}
    made = Tokenizer(BPE(vocabulary, [], unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    made.decoder = decoders.ByteLevel()
    if bos or eos:
        single = " ".join(["<bos>"] * bos + ["$A"] + ["<eos>"] * eos)
        made.post_processor = processors.TemplateProcessing(
            single=single, special_tokens=[("<bos>", 3), ("<eos>", 2)]
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=made,
        unk_token="<unk>",
        pad_token="<pad>",
        eos_token="<eos>",
        bos_token="<bos>",
        additional_special_tokens=[*SPECIAL[4:], *more],
        chat_template=template,
        model_max_length=512,
    )


def write(path: Path, **options: Any) -> None:
    """As transformers writes it."""
    tokenizer(**options).save_pretrained(path)


def ids(text: str) -> list[int]:
    """Of a text of printable ASCII in which special tokens are written out."""
    parts = re.findall("|".join([*map(re.escape, SPECIAL), "."]), text)
    known = {token: index for index, token in enumerate([*SPECIAL, *_BYTES])}
    return [known[part.replace(" ", "Ġ")] for part in parts]
