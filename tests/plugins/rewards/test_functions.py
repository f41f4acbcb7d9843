"""reward=length, format, sentiment: literal cases and wrong options."""

import pytest

from rlhfkit.errors import UserError
from rlhfkit_plugins.rewards import FormatConfig, LengthConfig, SentimentConfig
from rlhfkit_plugins.rewards.format import FormatReward
from rlhfkit_plugins.rewards.length import LengthReward
from rlhfkit_plugins.rewards.sentiment import SentimentReward


def score(reward, *completions):
    prompts = [[{"role": "user", "content": "Hello"}]] * len(completions)
    return reward(prompts, list(completions), prompt_ids=[], finished=[])


@pytest.mark.parametrize(
    ("words", "expected"),
    [(0, 0.5), (1, 0.75), (2, 1), (3, 1), (4, 1), (5, 0.75), (8, 0), (50, 0)],
)
def test_length(words, expected):
    reward = LengthReward(LengthConfig(min=2, max=4, slope=4))
    assert score(reward, "word " * words) == [expected]


def test_length_without_slope_is_an_edge():
    reward = LengthReward(LengthConfig(min=1, max=2, slope=0))
    assert score(reward, "", "a", "a b", "a b c") == [0, 1, 1, 0]


def test_format_searches_anywhere():
    reward = FormatReward(FormatConfig(pattern=r"\d+"))
    assert score(reward, "I have 12 eggs", "none") == [1, 0]
    assert score(FormatReward(FormatConfig()), "Done. ", "Not", "") == [1, 0, 0]


def test_sentiment_by_target():
    texts = ["I love this wonderful day!", "I hate this awful, terrible mess.", "It is a table."]
    likes = score(SentimentReward(SentimentConfig()), *texts)
    assert likes[0] > 0.7
    assert likes[1] < -0.7
    assert likes[2] == 0
    hates = score(SentimentReward(SentimentConfig(target=-1)), *texts)
    assert hates == pytest.approx([-like for like in likes])
    neutral = score(SentimentReward(SentimentConfig(target=0)), *texts)
    assert neutral == pytest.approx([1 - abs(like) for like in likes])


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (LengthConfig(min=5, max=4), "reward.x.min=5, reward.x.max=4"),
        (LengthConfig(min=-1), "reward.x.min=-1"),
        (LengthConfig(slope=-1), "reward.x.slope=-1"),
        (FormatConfig(pattern="("), r"reward.x.pattern=\("),
        (SentimentConfig(target=1.5), "reward.x.target=1.5"),
    ],
)
def test_wrong_options(config, message):
    with pytest.raises(UserError, match=message):
        config.check("reward.x")


def test_all_are_chosen_by_name(make_context):
    context = make_context("reward=[length,format,sentiment]", "reward.length.max=2")
    rewards = context.build_all("reward")
    assert {name: score(reward, "I love it.") for name, reward in rewards.items()} == {
        "length": [pytest.approx(0.95)],
        "format": [1],
        "sentiment": [pytest.approx(0.6369)],
    }
