"""evaluator=lm_eval: the numbers of the harness's own transformers model, and what is refused."""

import json
import random

import pytest

from rlhfkit.errors import NotRun, UserError
from rlhfkit.testing import tiny
from rlhfkit_plugins.evaluators import lm_eval
from rlhfkit_plugins.evaluators.lm_eval import LmEval, task_file

from .samples import samples

CHOICE = """
task: colours
dataset_path: json
dataset_kwargs: {{data_files: {{validation: {data}}}}}
validation_split: validation
output_type: multiple_choice
doc_to_text: "{{{{question}}}}"
doc_to_target: answer
doc_to_choice: choices
metric_list: [{{metric: acc, higher_is_better: true}}, {{metric: acc_norm, higher_is_better: true}}]
num_fewshot: 0
"""
GENERATION = """
task: answers
dataset_path: json
dataset_kwargs: {{data_files: {{validation: {data}}}}}
validation_split: validation
output_type: generate_until
doc_to_text: "{{{{question}}}}"
doc_to_target: "{{{{choices[answer]}}}}"
generation_kwargs: {{until: ["fine"], max_gen_toks: 5, do_sample: false}}
metric_list: [{{metric: exact_match, higher_is_better: true}}]
num_fewshot: 0
"""
ROLLING = """
task: texts
dataset_path: json
dataset_kwargs: {{data_files: {{validation: {data}}}}}
validation_split: validation
output_type: loglikelihood_rolling
doc_to_text: ""
doc_to_target: "{{{{text}}}}"
metric_list: [{{metric: word_perplexity, aggregation: weighted_perplexity}}]
"""


@pytest.fixture
def write(tmp_path):
    """Task files on a dozen questions about tiny's words, and a tiny model."""
    tiny.language_model(tmp_path / "base")
    words = tiny.WORDS
    rows = [
        {
            "question": f"{words[n]} is the", "choices": [words[-n - 1], "red red", words[n + 2]],
            "answer": n % 3, "text": " ".join(words[n:] * 6),
        }
        for n in range(10)
    ]  # fmt: skip
    data = tmp_path / "rows.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))

    def written(name, text):
        (tmp_path / name).write_text(text.format(data=data))
        return str(tmp_path / name)

    return written


@pytest.fixture
def make(make_context, tmp_path):
    def made(tasks, *overrides):
        return make_context(
            f"model.path={tmp_path / 'base'}", "loader=full", "evaluator=[lm_eval]",
            f"evaluator.lm_eval.tasks={json.dumps(tasks)}", *overrides,
        )  # fmt: skip

    return made


def by_hand(path, tasks, seed=0):
    """lm-eval's own model and its own results."""
    from lm_eval import simple_evaluate
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    model = HFLM(pretrained=str(path), batch_size=3, device="cpu", dtype="float32")
    return simple_evaluate(
        model=model, tasks=[task_file(task) for task in tasks], bootstrap_iters=10,
        task_manager=TaskManager(include_defaults=False), fewshot_random_seed=seed,
    )  # fmt: skip


def test_it_is_what_the_harness_finds_by_hand(write, make, tmp_path):
    pytest.importorskip("lm_eval", reason="the extra lm-eval is not installed")
    texts = {"colours": CHOICE, "answers": GENERATION, "texts": ROLLING}
    tasks = [write(f"{name}.yaml", text) for name, text in texts.items()]
    random.seed(7)
    state = random.getstate()
    evaluator = make(tasks, "evaluator.lm_eval.limit=12").build_all("evaluator")["lm_eval"]
    found = evaluator.evaluate({"sft": samples("sft", ["red"])})
    assert random.getstate() == state
    expected = by_hand(tmp_path / "base", tasks)
    own, theirs = found.metrics["sft"], expected["results"]
    for metric in ("acc", "acc_norm"):
        number, width = (
            own[f"colours_{metric}"],
            1.959964 * theirs["colours"][f"{metric}_stderr,none"],
        )
        assert number.value == pytest.approx(theirs["colours"][f"{metric},none"])
        assert number.high - number.value == pytest.approx(width, abs=1e-5)
        assert number.count == 10
    assert own["answers_exact_match_greedy"].value == theirs["answers"]["exact_match,none"]
    assert "answers_exact_match_sampled" in own
    rows = {row["item"]: row for row in found.rows if "answer_greedy" in row}
    for sample in expected["samples"]["answers"]:
        assert rows[f"answers {sample['doc_id']}"]["answer_greedy"] == sample["filtered_resps"][0]
    assert found.better["colours_acc"] == "higher"
    assert "colours: 10 items, where evaluator.lm_eval.limit=12 asks for more" in found.notes
    choices = [row for row in found.rows if "colours_acc" in row]
    assert sum(row["colours_acc"] for row in choices) / 10 == pytest.approx(
        own["colours_acc"].value
    )


def test_log_likelihoods_are_the_harness_own(write, make, tmp_path):
    """Each continuation's number and whether it is greedy, also where it does not fit."""
    pytest.importorskip("lm_eval", reason="the extra lm-eval is not installed")
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    from rlhfkit_plugins.evaluators.harness_model import HarnessModel
    from rlhfkit_plugins.evaluators.policies import policies

    context = make([write("c.yaml", CHOICE)], "stage.rl.micro_batch_size=2")
    policy = next(policies(context, {"sft": None}))
    pairs = [
        ("what is", " red"),
        ("", "the best colour"),
        ("red " * 80, " blue green"),
        ("it is ", "fine"),
    ]
    greedy = HFLM(pretrained=str(tmp_path / "base"), batch_size=2, device="cpu", dtype="float32")

    def requests(kind):
        if kind == "loglikelihood":
            return [Instance(kind, {}, pair, index) for index, pair in enumerate(pairs)]
        return [Instance(kind, {}, ("red and blue " * length,), length) for length in (1, 40)]

    own = HarnessModel(policy, "greedy")
    for (total, likeliest), (theirs, also) in zip(
        own.loglikelihood(requests("loglikelihood"), disable_tqdm=True),
        greedy.loglikelihood(requests("loglikelihood"), disable_tqdm=True),
        strict=True,
    ):
        assert (total, likeliest) == (pytest.approx(theirs, abs=1e-4), also)
    kind = "loglikelihood_rolling"
    assert own.loglikelihood_rolling(requests(kind)) == pytest.approx(
        greedy.loglikelihood_rolling(requests(kind), disable_tqdm=True), abs=1e-3
    )


def test_task_files_with_code_are_refused(write):
    for text, reason in (
        ("task: a\ndoc_to_text: !function utils.f\n", "names a !function, which is code"),
        ("task: a\ninclude: other.yaml\n", "`include` may run code"),
        ("task: a\nmetric_list: [{{metric: b, hf_evaluate: true}}]\n", "`hf_evaluate` may run"),
        ("- 1\n", "a task file has `task: NAME`"),
        ("task: [\n", "lm_eval.tasks"),
    ):
        with pytest.raises(UserError, match=reason):
            task_file(write("bad.yaml", text))
    with pytest.raises(UserError, match=r"No such file"):
        task_file("nowhere.yaml")


def test_a_missing_extra_is_told_before_training(write, make, monkeypatch):
    monkeypatch.setattr(lm_eval, "find_spec", lambda name: None)
    context = make([write("c.yaml", CHOICE)])
    with pytest.raises(UserError, match=r"pip install 'rlhfkit\[lm-eval\]'"):
        LmEval.check_run(context.config.evaluator["lm_eval"], context)


def test_tasks_without_data_are_not_run(write, make, tmp_path):
    pytest.importorskip("lm_eval", reason="the extra lm-eval is not installed")
    lost = write(
        "lost.yaml",
        CHOICE.replace("rows.jsonl", "lost.jsonl").replace("{data}", str(tmp_path / "lost.jsonl")),
    )
    drawn = {"sft": samples("sft", ["red"])}
    with pytest.raises(NotRun, match=r"task .*lost.yaml not run: "):
        make([lost]).build_all("evaluator")["lm_eval"].evaluate(drawn)
    both = make([lost, write("c.yaml", CHOICE)]).build_all("evaluator")["lm_eval"].evaluate(drawn)
    assert "colours_acc" in both.metrics["sft"]
    assert both.notes[0].startswith(f"task {lost} not run: ")
    with pytest.raises(NotRun, match=r"tasks names none"):
        make([]).build_all("evaluator")["lm_eval"].evaluate(drawn)
