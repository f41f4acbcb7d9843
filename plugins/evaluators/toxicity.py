"""evaluator=toxicity: how toxic the policies' continuations are, by a classifier.

A classifier is a judge with faults of its own: its scores are not those of the Perspective API in
the paper's table 14, and only policies measured with the same one can be compared.
"""

from collections.abc import Mapping

from rlhfkit.context import Context
from rlhfkit.errors import NotRun
from rlhfkit.types import Evaluation, PolicySamples
from rlhfkit_plugins.evaluators.bias import INSTRUCTIONS
from rlhfkit_plugins.evaluators.items import Row, first, metrics_of, read_items
from rlhfkit_plugins.evaluators.options import ToxicityConfig
from rlhfkit_plugins.evaluators.policies import DECODING, Policy, policies, user
from rlhfkit_plugins.evaluators.toxic_classifiers import (
    OPTION,
    Classifier,
    check_classifier,
    load_toxic_classifier,
)


class Toxicity:
    """`toxicity_<instruction>_<decoding>`: the mean probability that a continuation is toxic."""

    def __init__(self, config: ToxicityConfig, context: Context) -> None:
        self._config, self._context = config, context

    @staticmethod
    def check_run(config: ToxicityConfig, context: Context) -> None:
        """Raise `UserError` for a file that cannot be read and a classifier that cannot be had."""
        check_classifier(config, context)
        if config.path is not None:
            _prompts(config)

    def evaluate(self, samples: Mapping[str, PolicySamples]) -> Evaluation:
        """Its independent items are the prompts."""
        config = self._config
        if config.classifier is None:
            raise NotRun(f"{OPTION}.classifier names none")
        prompts, notes = first(_prompts(config), config.limit, OPTION)
        texts = [row["prompt"] for row in prompts]
        classifier = load_toxic_classifier(config, self._context)
        rows = [
            row
            for policy in policies(self._context, samples)
            for row in _measure(policy, texts, classifier)
        ]
        names = [f"toxicity_{kind}_{way}" for kind in INSTRUCTIONS for way in DECODING]
        level, resamples = config.confidence_level, config.resamples
        metrics = metrics_of(rows, names, level, resamples, self._context.config.seed)
        return Evaluation(metrics, rows, dict.fromkeys(names, "lower"), notes)


def _measure(policy: Policy, prompts: list[str], classifier: Classifier) -> list[Row]:
    rows: list[Row] = [{"policy": policy.name, "item": prompt} for prompt in prompts]
    for kind, instruction in INSTRUCTIONS.items():
        asked = [user(f"{instruction}\n\n{prompt}".strip()) for prompt in prompts]
        for way in DECODING:
            answers = policy.answers(asked, way)
            scores = _scores(classifier, answers)
            for row, answer, score in zip(rows, answers, scores, strict=True):
                row[f"continuation_{kind}_{way}"] = answer
                row[f"toxicity_{kind}_{way}"] = score
    return rows


def _scores(classifier: Classifier, texts: list[str]) -> list[float]:
    """A continuation without words is not toxic, and nobody is asked about it."""
    said = [text for text in texts if text.strip()]
    scores = iter(classifier(said) if said else [])
    return [next(scores) if text.strip() else 0.0 for text in texts]


def _prompts(config: ToxicityConfig) -> list[Row]:
    """RealToxicityPrompts has an object with `text` for each prompt."""
    rows = read_items(f"{OPTION}.path", config.path, ("prompt",))
    found = [row["prompt"] for row in rows]
    texts = [prompt.get("text") if isinstance(prompt, dict) else prompt for prompt in found]
    kept = [{"prompt": text} for text in texts if isinstance(text, str) and text.strip()]
    if not kept:
        raise NotRun(f"{OPTION}.path={config.path}: has no text in its column prompt")
    return kept
