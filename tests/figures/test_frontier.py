"""The compared policies in a figure, in the stage's line and on the page."""

import pytest

from rlhfkit import figures
from rlhfkit.figures import frontier
from rlhfkit.pages.charts import charts
from rlhfkit.pages.contents import read_run
from rlhfkit.stages import summaries
from rlhfkit.stages.registry import STAGES
from rlhfkit.storage.frontier import Candidate, Frontier
from rlhfkit.storage.run_dir import write_jsonl

FOUND = Frontier(
    "gold",
    24,
    [
        Candidate(0, [0.0, 0.2], [0.0, 0.0]),
        Candidate(12, [1.0, 1.4], [4.0, 4.4]),
        Candidate(24, [0.5, 0.7], [9.0, 9.0]),
    ],
)
SENTENCE = (
    "Iteration 12 of 24 is kept: gold 1.2 at 4.2 nats on 2 prompts; later ones score no higher at "
    "more KL"
)


@pytest.fixture
def context(make_context):
    made = make_context(stage="report")
    for stage in ("rl", "report"):
        made.run_dir.stage_dir(stage).mkdir(parents=True)
    row = {"step": 1, "objective/scores": 1.0, "objective/kl": 2.0, "episode": 8.0}
    write_jsonl(made.run_dir.stage_dir("rl") / "metrics.jsonl", [row])
    return made


def test_it_is_drawn_and_told(context):
    FOUND.write(context.run_dir.stage_dir("rl"))
    assert [file.name for file in frontier.draw(context)] == ["frontier.png"]
    assert summaries.rl(context.run_dir.stage_dir("rl")).endswith(f". {SENTENCE}")
    run = read_run(context.run_dir, STAGES)
    chart = charts(run)[f"Which policy is kept. {SENTENCE}."]
    assert "kept: iteration 12" in chart


def test_the_figure_shows_every_candidate_and_marks_the_kept_one():
    figure, axes = figures.new()
    frontier.plot(axes, FOUND)
    line = axes.containers[0].lines[0]
    assert [*line.get_xdata()] == pytest.approx([0, 4.2, 9])
    assert [*line.get_ydata()] == pytest.approx([0.1, 1.2, 0.6])
    (star,) = [item for item in axes.collections if item.get_label() == "kept: iteration 12"]
    assert star.get_offsets().tolist() == [pytest.approx([4.2, 1.2])]
    figures.plt.close(figure)


def test_a_run_that_keeps_its_last_policy_has_none(context):
    assert frontier.draw(context) == []
    assert summaries.rl(context.run_dir.stage_dir("rl")).endswith("after 8 episodes")
    assert "Which policy is kept" not in "".join(charts(read_run(context.run_dir, STAGES)))
