"""A reward model as transformers, TRL and OpenRLHF know one: a sequence classifier with one label.

Their heads have no bias, and final norms without one have no place for it either. What the bias
adds to every score stands in config.json: as `score_bias`, and as OpenRLHF's `mean` and `std`.
"""

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING

from rlhfkit.data.chat_template import CannotRender
from rlhfkit.data.text_format import TextFormat
from rlhfkit.errors import UserError
from rlhfkit.models.loading import ADAPTER_FILE
from rlhfkit.models.own_head import body_of
from rlhfkit.models.trust import adapter_weights

_WITHOUT_TAIL = (
    "{{% set whole %}}{template}{{% endset %}}"
    "{{{{- whole if add_generation_prompt else whole.rstrip() -}}}}"
)
"""A chat template around another one, whose conversations end where the last answer does."""

_PROBE = 16
"""Tokens that the classifier is compared on."""


def save_classifier(base: Any, head: nn.Linear, tokenizer: Any, folder: Path) -> None:
    """Write a causal model's body with the head of a scalar model.

    Raises `UserError` for an architecture that transformers has no such classifier of.
    """
    kind = MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING.get(type(base.config), None)
    config = deepcopy(base.config)
    config.num_labels = 1
    config.get_text_config().pad_token_id = tokenizer.pad_token_id
    with torch.device("meta"):
        model: Any = kind(config) if kind else None
    score = getattr(model, "score", None)
    if not isinstance(score, nn.Linear) or score.in_features != head.in_features:
        raise UserError(
            f"transformers has no sequence classifier of {config.model_type} with a head like this "
            f"one's; use export.merged=false"
        )
    setattr(model, model.base_model_prefix, body_of(base))
    model.score = nn.Linear(head.in_features, 1, bias=False, device=base.device)
    model.score.weight.data = head.weight.data.to(base.device, base.dtype)
    _compare(base, head, model)
    model.score.weight.data = head.weight.data.to(base.device, torch.float32)
    bias = head.bias.item()
    model.config.update({"score_bias": bias, "mean": -bias, "std": 1.0})
    model.save_pretrained(folder)


@torch.no_grad()
def _compare(base: Any, head: nn.Linear, model: Any) -> None:
    """Refuse a class that makes something else of the head."""
    vocabulary = base.get_input_embeddings().num_embeddings
    pad = model.config.get_text_config().pad_token_id
    ids = [token for token in range(vocabulary) if token != pad][:_PROBE]
    given = torch.tensor([ids], device=base.device)
    hidden = body_of(base)(input_ids=given).last_hidden_state[0, -1]
    score = head.weight.to(base.device, torch.float32) @ hidden.float()
    found = model.eval()(input_ids=given).logits[0].float()
    if not torch.allclose(found, score, rtol=0.02, atol=0.02):  # the head was rounded for this
        raise UserError(
            f"transformers' {type(model).__name__} gives {found.item():.4g} where the reward model "
            f"gives {score.item():.4g}; use export.merged=false"
        )


def add_head_to_adapter(folder: Path, head: nn.Linear) -> None:
    """Make an adapter's files those of a sequence classifier: PEFT loads the head with it."""
    file = adapter_weights(str(folder))
    weights = load_file(file)
    weights["base_model.model.score.weight"] = head.weight.detach().cpu().clone()
    save_file(weights, file, metadata={"format": "pt"})
    config = json.loads((folder / ADAPTER_FILE).read_text(encoding="utf-8"))
    config |= {"task_type": "SEQ_CLS", "modules_to_save": ["score"]}
    (folder / ADAPTER_FILE).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def prepare_tokenizer(text: TextFormat) -> list[str]:
    """Let others end and pad texts as the reward model was trained; gives what they must know.

    A classifier reads the last token that is not the pad token, so that must be none that ends a
    text; and what a chat template writes after an answer's end, as a line break, must not be there.
    """
    tokenizer, notes = text.tokenizer, []
    pad = _pad_token(text)
    if pad is None:
        notes.append("no token can be the pad token: give it one text at a time")
    tokenizer.pad_token = pad
    tokenizer.padding_side = "right"
    if text.chat and not _ends_with_answer(text):
        written = tokenizer.chat_template
        tokenizer.chat_template = _WITHOUT_TAIL.format(template=written)
        if not _ends_with_answer(text):
            tokenizer.chat_template = written
            end = tokenizer.convert_ids_to_tokens(text.ends.taught)
            notes.append(f"the chat template does not end answers with {end}: append it yourself")
    return notes


def _pad_token(text: TextFormat) -> str | None:
    tokenizer = text.tokenizer
    named = [tokenizer.pad_token, tokenizer.unk_token, tokenizer.bos_token]
    known = tokenizer.get_added_vocab()
    for token in [*filter(None, named), *sorted(known, key=known.get)]:
        place = tokenizer.convert_tokens_to_ids(token)
        if place not in text.ends.ids and (text.vocabulary is None or place < text.vocabulary):
            return str(token)
    return None


def _ends_with_answer(text: TextFormat) -> bool:
    """Whether a rendered conversation has the tokens of its prompt and its completion."""
    asked = [{"role": "user", "content": "Hello"}]
    turns = [*asked, {"role": "assistant", "content": "Fine"}]
    try:
        whole = text.tokenizer.apply_chat_template(turns, tokenize=False)
        wanted = [*text.prompt_ids(asked), *text.completion_ids("Fine")]
    except (CannotRender, ValueError, TypeError):
        return False
    ids: list[int] = text.tokenizer(whole, add_special_tokens=False).input_ids
    return ids == wanted
