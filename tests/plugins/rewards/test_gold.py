"""reward=gold: the labelers' own score; with weight 0 it is measured and moves nothing."""

import pytest

from rlhfkit.errors import UserError
from rlhfkit.storage.run_dir import read_jsonl
from rlhfkit.testing import tiny
from rlhfkit_plugins.labelers.features import measure
from rlhfkit_plugins.labelers.pool import POOL
from rlhfkit_plugins.rewards.classifier import load_classifier

PROMPTS = [[{"role": "user", "content": "Describe a red boat."}]] * 4
TEXTS = ["That red boat lies in the harbour.", "", "Sure!", "boat boat boat boat boat boat"]


def gold(make_context, *overrides):
    return make_context("reward=[gold]", *overrides).build_all("reward")["gold"]


def test_one_labelers_points(make_context):
    """complete 1.5, relevance 1.5 (red, boat), directness 0.8, length 2.5 (7 words of 6 to 14)."""
    scores = gold(make_context, "labeler.labelers=[simulated-concise]")(PROMPTS, TEXTS)
    assert scores[0] == pytest.approx(1.5 + 1.5 + 0.8 + 2.5)
    assert scores[2] == pytest.approx(1.5 - 2.5)  # complete, but clears its throat with one word


def test_the_pools_mean_without_mistakes(make_context):
    scores = gold(make_context, "labeler.error_rate=0.4")(PROMPTS, TEXTS)
    for text, found in zip(TEXTS, scores, strict=True):
        if text:
            points = [item.score(measure("Describe a red boat.", text)) for item in POOL.values()]
            assert found == pytest.approx(sum(points) / len(points))
    assert gold(make_context, "seed=1")(PROMPTS, TEXTS) == scores


def test_no_words_are_the_worst_and_finite(make_context):
    concise = ["labeler.labelers=[simulated-concise]"]
    scores = gold(make_context, *concise)(PROMPTS, TEXTS)
    assert scores[1] == pytest.approx(-1.5 - 2.0 - 0.8 - 2.5)  # repetition, echo, listing, length
    assert scores[1] < min(scores[0], *scores[2:])


def test_a_reward_models_score(make_context, tmp_path):
    tiny.classifier(tmp_path / "gold")
    chosen = ["labeler=reward_model", f"labeler.path={tmp_path / 'gold'}"]
    asked = [[{"role": "user", "content": "what is best"}]] * 2, ["red", "it is blue"]
    wanted = load_classifier(make_context(*chosen), str(tmp_path / "gold"), 16)(*asked)
    found = gold(make_context, *chosen)(*asked)
    assert found == pytest.approx(wanted)
    assert found[0] != found[1]


def test_imported_rankings_have_no_score(make_context):
    with pytest.raises(UserError, match="reward=gold: labeler=imported has no score to give"):
        gold(make_context, "labeler=imported")


def test_with_weight_0_it_is_only_measured(run_tiny, tmp_path):
    def outcome(name, *overrides):
        runner = run_tiny(
            "stages=[sft,rl]", "reward.length.max=3", f"run_dir={tmp_path / name}", *overrides
        )
        folder = runner.run_dir.stage_dir("rl")
        rows = [
            {key: value for key, value in row.items() if not key.startswith("time/")}
            for row in read_jsonl(folder / "metrics.jsonl")
        ]
        return rows, (folder / "model" / "adapter_model.safetensors").read_bytes()

    plain, weights = outcome("plain", "reward=[length]")
    rows, same = outcome("gold", "reward=[length,gold]", "reward.gold.weight=0")
    for name in ("reward/gold", "reward/gold_std"):
        assert all(isinstance(row.pop(name), float) for row in rows)
    assert rows == plain
    assert same == weights
    rows, other = outcome("used", "reward=[length,gold]")
    assert other != weights
