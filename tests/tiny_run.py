"""A tiny run: a dozen prompts and settings that take every stage in seconds; the fixtures
of conftest.py write the files."""

PROMPTS = [
    "what is red", "what is green", "what is blue", "what is best", "is red best",
    "is green best", "is blue best", "you like red", "you like green", "you like blue",
    "what colour is it", "what colour is best",
]  # fmt: skip
SETTINGS = (
    "data=[files]",
    "model.max_prompt_length=24",
    "sampler.response_length=6",
    "sampler.batch_size=8",
    "loader.lora_r=4",
    "stage.sample.num_completions=3",
    "stage.rl.total_episodes=16",
    "stage.rl.batch_size=8",
    "stage.rl.micro_batch_size=4",
    "evaluator.win_rate.resamples=200",
    "evaluator.policy_statistics.resamples=200",
)
