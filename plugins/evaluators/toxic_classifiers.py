"""Classifiers that say how likely a text is toxic: any sequence classifier, or hatesonar."""

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import Any

import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from rlhfkit.context import Context
from rlhfkit.errors import UserError, nearest
from rlhfkit.models.batch_size import AdaptiveBatchSize
from rlhfkit.models.loading import check_whole, load_config, load_pretrained
from rlhfkit_plugins.evaluators.options import ToxicityConfig

HATESONAR = "hatesonar"
OPTION = "evaluator.toxicity"

Classifier = Callable[[Sequence[str]], list[float]]
"""Texts to probabilities of being toxic."""


def check_classifier(config: ToxicityConfig, context: Context) -> None:
    """Raise `UserError` for one that is not installed, or whose toxic labels are not known."""
    if config.classifier == HATESONAR:
        if find_spec(HATESONAR) is None:
            raise UserError(
                f"{OPTION}.classifier=hatesonar needs the library hatesonar: "
                f"pip install 'rlhfkit[toxicity]'"
            )
        _sonar()
    elif config.classifier is not None:
        toxic_labels(config, load_config(context, config.classifier))


def load_toxic_classifier(config: ToxicityConfig, context: Context) -> Classifier:
    """The classifier that the options name."""
    check_classifier(config, context)
    if config.classifier == HATESONAR:
        return _hatesonar()
    return SequenceClassifier(config, context)


def toxic_labels(config: ToxicityConfig, model_config: Any) -> list[int]:
    """The numbers of a classifier's labels that count as toxic."""
    known = {str(name): int(index) for index, name in model_config.id2label.items()}
    if len(known) == 1:
        return [0]
    chosen = config.labels or [name for name in known if name.lower() in ("toxic", "toxicity")]
    for name in chosen:
        if name not in known:
            raise UserError(f"{OPTION}.labels: no label '{name}'; {nearest(name, known)}")
    if not chosen:
        raise UserError(
            f"{OPTION}.labels: say which of {', '.join(known)} are toxic, as in "
            f"{OPTION}.labels=[{next(iter(known))}]"
        )
    return [known[name] for name in chosen]


class SequenceClassifier:
    """The summed probability of the toxic labels: a softmax over all of them, or for classifiers
    with one label or of several labels at once, the highest of their sigmoids."""

    def __init__(self, config: ToxicityConfig, context: Context) -> None:
        path = str(config.classifier)
        shared: dict[str, Any] = {"what": "classifier", "trust": False}
        self._tokenizer = load_pretrained(AutoTokenizer, context, path, **shared)
        model, info = load_pretrained(
            AutoModelForSequenceClassification,
            context,
            path,
            dtype=torch.float32,
            use_safetensors=True,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
            **shared,
        )
        check_whole(path, info)
        self._model = model.eval().to(context.device)
        self._labels = toxic_labels(config, model.config)
        self._size = AdaptiveBatchSize("toxicity", config.batch_size)
        problem = model.config.problem_type
        self._sigmoid = model.config.num_labels == 1 or problem == "multi_label_classification"

    def __call__(self, texts: Sequence[str]) -> list[float]:
        groups = self._size.map(texts, self._probabilities)
        return [probability for _, found in groups for probability in found]

    @torch.no_grad()
    def _probabilities(self, texts: Sequence[str]) -> list[float]:
        """One text at a time where there is no token to pad with."""
        if self._tokenizer.pad_token is None and len(texts) > 1:
            return [found for text in texts for found in self._probabilities([text])]
        encoded = self._tokenizer(
            list(texts),
            padding=len(texts) > 1,
            truncation=True,
            return_tensors="pt",
            return_token_type_ids=None,
        ).to(self._model.device)
        logits = self._model(**encoded).logits.float()
        if self._sigmoid:
            found = logits.sigmoid()[:, self._labels].amax(-1)
        else:
            found = logits.softmax(-1)[:, self._labels].sum(-1)
        probabilities: list[float] = found.tolist()
        return probabilities


def _hatesonar() -> Classifier:
    """Hate speech or offensive language, by a model of tweets (Davidson et al. 2017), which takes
    African American English for offensive more often than it is."""
    sonar = _sonar()

    def toxic(texts: Sequence[str]) -> list[float]:
        found = [sonar.ping(text)["classes"] for text in texts]
        return [
            1 - next(item["confidence"] for item in classes if item["class_name"] == "neither")
            for classes in found
        ]

    return toxic


def _sonar() -> Any:
    from hatesonar import Sonar

    try:
        return Sonar()
    except Exception as error:  # onnxruntime's own: it wants the system's locale en_US.UTF-8
        reason = " ".join(str(error).split())[-200:]
        raise UserError(f"{OPTION}.classifier=hatesonar does not start: {reason}") from error
