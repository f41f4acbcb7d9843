"""The model card of an export, told from the run's records: what it is, how to load it, its data,
method, numbers and limits."""

from collections.abc import Iterable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from huggingface_hub import ModelCard, ModelCardData, try_to_load_from_cache
from jinja2 import Environment

from rlhfkit.exports.form import Form
from rlhfkit.pages.contents import RunContents, StageLine, read_run
from rlhfkit.pages.verdict import TOY_TASTES, verdict
from rlhfkit.reporting import confidence, shown, toy_tastes
from rlhfkit.stage import Stage
from rlhfkit.storage.run_dir import RunDir, StageRecord

CARD = "README.md"
_TEMPLATE = Path(__file__).with_name("card.md.jinja")
_WHAT = {
    "sft": "A language model fine-tuned on demonstrations",
    "rl_sft": "A language model fine-tuned on demonstrations and mixed pretraining texts",
    "reward_model": "A reward model: one number for a prompt and an answer, higher is better",
}


def write_card(
    folder: Path, form: Form, record: StageRecord, run: RunDir, stages: Sequence[Stage]
) -> None:
    """Write README.md beside an exported model. stages: all, in their order."""
    found = read_run(run, stages)
    chain = [line for line in found.stages if line.name in _before(record.stage, stages)]
    base = _shown(record.settings["model.path"])
    told = record.stage == "rl" and bool(found.metrics)
    template = Environment(trim_blocks=True, autoescape=False).from_string(
        _TEMPLATE.read_text(encoding="utf-8")
    )
    body = template.render(
        title=f"{found.name}: {record.stage}",
        what=f"{_what(record.stage, found)}, from {base}.",
        said=[line for line in verdict(found) if line != TOY_TASTES] if told else [],
        language="sh" if form.gguf else "python",
        snippet=form.snippet("."),
        notes=form.notes,
        data=list(_data(found, record.settings)),
        stages=[StageLine(*_cells(line)) for line in chain],
        version=version("rlhfkit"),
        count=max((item.count for item in _metrics(found, record).values()), default=0),
        level=confidence(_metrics(found, record).values()),
        numbers=[(name, shown(metric)) for name, metric in _metrics(found, record).items()],
        limits=_limits(found, record),
        settings={key: _shown(value) for key, value in record.settings.items()},
    )
    card = ModelCard.from_template(
        _metadata(form, record, found),
        template_str="---\n{{ card_data }}\n---\n\n{{ body }}\n",
        body=body,
    )
    card.save(folder / CARD)


def _what(stage: str, found: RunContents) -> str:
    return _WHAT.get(stage, f"A policy trained by {found.optimizer}")


def _before(name: str, stages: Sequence[Stage]) -> set[str]:
    """A stage and those whose results went into it; of a policy, what measured it as well."""
    reads = {stage.name: stage.reads for stage in stages}
    waiting, found = [name], {"evaluate"} if name == "rl" else set()
    for stage in waiting:
        if stage not in found:
            found.add(stage)
            waiting += [*reads.get(stage, ())]
    return found


def _cells(line: StageLine) -> tuple[Any, ...]:
    return line.name, line.finished_at[:10], line.seconds, line.text.replace("|", "\\|")


def _metadata(form: Form, record: StageRecord, found: RunContents) -> ModelCardData:
    base = record.settings["model.path"]
    published = _is_hub_name(base)
    names = {_repository(value) for value in _hub_data(found)}
    return ModelCardData(
        base_model=base if published else None,
        datasets=sorted(names) or None,
        library_name=form.library,
        license=_licence(base, "model"),
        pipeline_tag="text-classification" if form.reward_model else "text-generation",
        tags=["rlhf", "rlhfkit", "reward-model" if form.reward_model else found.optimizer.lower()],
    )


def _metrics(found: RunContents, record: StageRecord) -> dict[str, Any]:
    return found.metrics.get(record.stage, {})


def _data(found: RunContents, settings: dict[str, Any]) -> Iterable[str]:
    """A line for each split of each source: what it is, its licence, its digest."""
    for key, digest in sorted(found.inputs.items()):
        source, _, split = key.removeprefix("data ").partition(".")
        option = found.settings.get(f"data.{source}.{split}")
        licence = _licence(str(option), "dataset") if source == "hub" else None
        if source == "quickstart":
            licence = "apache-2.0"
        name = f"{source} `{_shown(option)}`" if option else source
        known = licence or "its licence is not known here"
        yield f"{split}: {name} ({known}; digest {digest[:12]})"


def _hub_data(found: RunContents) -> list[str]:
    return [
        str(value)
        for key, value in found.settings.items()
        if key.startswith("data.hub.") and value and _is_hub_name(_repository(str(value)))
    ]


def _repository(option: str) -> str:
    return option.partition(":")[0]


def _limits(found: RunContents, record: StageRecord) -> list[str]:
    labeler = found.settings.get("labeler.name")
    said = []
    if toy_tastes(str(labeler), found.sources):
        said.append(TOY_TASTES)
    elif found.simulated:
        said.append("Its labelers are simulated: rules in a program, not people.")
    elif labeler:
        said.append(f"Its preferences are those of `labeler={labeler}`, and of nobody else.")
    if not _metrics(found, record) and record.stage != "reward_model":
        said.append("It was not evaluated.")
    if record.stage != "reward_model":
        said.append("It was not tested for harmful, false or private answers.")
    else:
        said.append(
            "Its numbers compare answers to one prompt; far from its training data they mean little"
            ", and a policy that is optimised against it finds where it errs."
        )
    return said


def _is_hub_name(name: str) -> bool:
    return name.count("/") == 1 and not name.startswith((".", "/", "~")) and not Path(name).exists()


def _licence(name: str, kind: str) -> str | None:
    """What the card of a model or data set says that is on this machine; None where none does."""
    name = _repository(name)
    found: Any = Path(name) / "README.md"
    if _is_hub_name(name):
        found = try_to_load_from_cache(name, "README.md", repo_type=kind)
    if not isinstance(found, str | Path) or not Path(found).is_file():
        return None
    licence = ModelCard.load(found, ignore_metadata_errors=True).data.to_dict().get("license")
    return str(licence) if licence else None


def _shown(value: Any) -> Any:
    """A value without the folders of the machine it was typed on."""
    is_path = isinstance(value, str) and value.startswith(("/", "~", "./", "../"))
    return Path(value).name if is_path and "\n" not in value else value
