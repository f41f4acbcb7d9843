"""A stage is stale when a file that a component's options name has other contents."""

from rlhfkit.runner.stage_settings import stage_settings
from rlhfkit.stages.registry import find_stage, stages_of


def test_an_evaluators_file_counts_by_its_contents(make_raw, make_context, plugins, tmp_path):
    quiz = tmp_path / "quiz.csv"
    options = ["evaluator=[truthfulqa]", f"evaluator.truthfulqa.path={quiz}"]
    stage = find_stage("evaluate", stages_of(plugins))

    def settings():
        return stage_settings(stage, make_raw(*options), make_context(*options).config, plugins)

    quiz.write_text("Question\nwhat is red\n")
    first = settings()
    assert settings() == first
    quiz.write_text("Question\nwhat is blue\n")
    changed = {key for key, value in settings().items() if first[key] != value}
    assert changed == {f"sha256 of {quiz}"}
