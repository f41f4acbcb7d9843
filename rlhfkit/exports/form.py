"""What an export is, and the lines that load it."""

from dataclasses import dataclass, field
from pathlib import Path

_TOKENIZER = 'tokenizer = AutoTokenizer.from_pretrained("{place}")'


@dataclass(frozen=True)
class Form:
    """One exported model."""

    reward_model: bool
    adapter: bool
    gguf: str | None = None
    """Name of the GGUF file; None for files of transformers."""

    chat: bool = True
    score_bias: float = 0.0
    notes: list[str] = field(default_factory=list)
    """What a user has to know, a sentence each."""

    @property
    def library(self) -> str:
        """The hub's name of what loads it."""
        return "gguf" if self.gguf else "peft" if self.adapter else "transformers"

    def snippet(self, place: str | Path) -> str:
        """Lines that load it from a folder or repository and use it once."""
        if self.gguf:
            return f"ollama create mine -f {place}/Modelfile\nollama run mine"
        lines = self._reward_model() if self.reward_model else self._policy()
        return "\n".join(lines).replace("{place}", str(place))

    def _policy(self) -> list[str]:
        loader = "AutoPeftModelForCausalLM" if self.adapter else "AutoModelForCausalLM"
        library = "peft" if self.adapter else "transformers"
        together = "" if self.adapter else f"{loader}, "
        more, ends = "", []
        if self.adapter:  # the base's own settings know nothing of what was taught
            more = ", GenerationConfig"
            ends = ['ends = GenerationConfig.from_pretrained("{place}").eos_token_id']
        stop = ", eos_token_id=ends" if self.adapter else ""
        return [
            *([f"from {library} import {loader}"] if self.adapter else []),
            f"from transformers import {together}AutoTokenizer{more}",
            "",
            _TOKENIZER,
            f'model = {loader}.from_pretrained("{{place}}")',
            *ends,
            *_prompt(self.chat),
            f"answer = model.generate(**inputs, max_new_tokens=200{stop})[0]",
            'print(tokenizer.decode(answer[inputs["input_ids"].shape[1]:], '
            "skip_special_tokens=True))",
        ]

    def _reward_model(self) -> list[str]:
        pad = ["model.config.pad_token_id = tokenizer.pad_token_id"] if self.adapter else []
        bias = f" + {self.score_bias:.6g}" if self.score_bias else ""
        return [
            "from transformers import AutoModelForSequenceClassification, AutoTokenizer",
            "",
            _TOKENIZER,
            'model = AutoModelForSequenceClassification.from_pretrained("{place}", num_labels=1)',
            *pad,
            *_answered(self.chat),
            f"print(model(**inputs).logits[:, 0]{bias})",
        ]


def _prompt(chat: bool) -> list[str]:
    if not chat:
        return ['inputs = tokenizer("Name a fruit.", return_tensors="pt")']
    return [
        'messages = [{"role": "user", "content": "Name a fruit."}]',
        "inputs = tokenizer.apply_chat_template(",
        '    messages, add_generation_prompt=True, return_dict=True, return_tensors="pt")',
    ]


def _answered(chat: bool) -> list[str]:
    if not chat:
        return ['inputs = tokenizer("Name a fruit. An apple." + tokenizer.eos_token, '
                'return_tensors="pt")']  # fmt: skip
    return [
        'messages = [{"role": "user", "content": "Name a fruit."},',
        '            {"role": "assistant", "content": "An apple."}]',
        'inputs = tokenizer.apply_chat_template(messages, return_dict=True, return_tensors="pt")',
    ]
