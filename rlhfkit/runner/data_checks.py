"""Checks that read: the data's rows, what complete stages wrote, tokenizers and configurations of
models. No torch here before something is read."""

from collections.abc import Callable, Iterator
from difflib import get_close_matches
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from rlhfkit.config.online import OnlineConfig
from rlhfkit.context import Context
from rlhfkit.errors import UserError, nearest
from rlhfkit.runner.needs import NEEDS, RUN_MODELS, check_start
from rlhfkit.runner.planned import Planned
from rlhfkit.storage.catalogue import COMPLETIONS_FILE, RANKINGS_FILE
from rlhfkit.types import SPLITS, Split


def check_model(planned: Planned) -> None:
    """The run's model, its tokenizer, its chat template and its attention."""
    if any("model" in stage.option_groups for stage in planned.waiting):
        path = planned.context.config.model.path
        _refuse_missing_folder("model.path", path)
        formats = import_module("rlhfkit.data.text_format")
        planned.text = formats.load_text_format(planned.context)
        import_module("rlhfkit.models.weight_files").check_files(planned.context, path)
        if planned.context.config.model.attn_implementation is not None:
            model_config = import_module("rlhfkit.models.loading").load_config(planned.context)
            attention = import_module("rlhfkit.models.attention")
            attention.check_attention(planned.context, model_config)


def check_other_models(planned: Planned) -> Iterator[str]:
    """Models that stages are told to load beside the run's own."""
    for option, path in _other_models(planned):
        if path is None or path in ("base", *RUN_MODELS):
            continue
        try:
            _refuse_missing_folder(option, path)
            import_module("rlhfkit.models.weight_files").check_files(planned.context, path)
        except UserError as error:
            yield str(error) if str(error).startswith(option) else f"{option}: {error}"


def _other_models(planned: Planned) -> Iterator[tuple[str, str | None]]:
    """Options and what they name."""
    stage, names = planned.context.config.stage, planned.names
    if "sample" in names:
        number = planned.context.config.round
        option = "stage.sample.models" if number == 1 else "stage.sample.round_models"
        names_of_rounds = {"best", *(f"round{place}" for place in range(1, number))}
        models = [name for name in stage.sample.models_of(number) if name not in names_of_rounds]
        yield from ((option, name) for name in models)
    if "reward_model" in names and not any(check_start(planned)):
        yield "stage.reward_model.start", stage.reward_model.start
    if "evaluate" in names:
        for name, path in stage.evaluate.opponents.items():
            yield f"stage.evaluate.opponents.{name}", path


def check_data(planned: Planned) -> Iterator[str]:
    """The rows of every split that the stages read."""
    for read in _reads(planned):
        try:
            if (found := read()) is not None:
                planned.found.append(found)
        except UserError as error:
            yield str(error)


def check_validation(planned: Planned) -> Iterator[str]:
    """Rows to choose an SFT model's epoch by."""
    context, config = planned.context, planned.context.config.stage
    used = next((item.used for item in planned.found if item.split == "demonstrations"), 0)
    for stage in ("sft", "rl_sft"):
        options = getattr(config, stage)
        if stage not in planned.names or options.select_by == "last" or not used:
            continue
        set_apart = "prepare" in planned.names and config.prepare.validation_fraction
        sources = import_module("rlhfkit.data.sources")
        count = int(used * options.validation_fraction)
        if not (count or set_apart or sources.validation_demonstrations(context)):
            yield (
                f"stage.{stage}.select_by={options.select_by}: no validation rows; raise "
                f"stage.{stage}.validation_fraction"
            )


def check_leaks(planned: Planned) -> None:
    """Held-out data that is trained on."""
    if any(stage.splits for stage in planned.waiting):
        import_module("rlhfkit.data.leakage").refuse_leaks(planned.context)


def check_stored(planned: Planned) -> Iterator[str]:
    """What complete stages wrote for those that wait."""
    names, folder = planned.names, planned.context.run_dir.stage_dir
    stored = {
        "label": ("sample", COMPLETIONS_FILE, "stored_completions"),
        "reward_model": ("label", RANKINGS_FILE, "stored_rankings"),
    }
    for reader in (name for name in names if name in stored):
        writer, file, function = stored[reader]
        path = folder(writer) / file
        if writer in planned.complete and writer not in names and path.exists():
            rows = getattr(import_module("rlhfkit.data.artifacts"), function)(path)
            if writer == "label" and all(len(set(row.ranks)) < 2 for row in rows):
                yield "stage reward_model: every ranking ties all its completions"


def check_context_length(planned: Planned) -> Iterator[str]:
    """Texts that, with the answers that will follow, are longer than the model was made for."""
    answer = getattr(planned.context.config.sampler, "response_length", 0)
    for item in planned.found if planned.text is not None else ():
        answered = item.split.endswith("prompts") and answer
        length = item.longest + answered
        models = import_module("rlhfkit.models.context_length")
        exceeded = models.exceeded_context(planned.context, length)
        if exceeded is None:
            continue
        limit = f"sampler.response_length={answer} among them, " if answered else ""
        line = (
            f"{item.split}: up to {length} tokens, {limit}but {planned.context.config.model.path} "
            f"was made for {exceeded.tokens}; lower model.max_prompt_length"
        )
        if exceeded.fails_beyond:
            yield line
        else:
            planned.notes.append(line)


def _reads(planned: Planned) -> Iterator[Callable[[], Any]]:
    """What reads each split as the stages will."""
    names, context, text = planned.names, planned.context, planned.text
    if not any(stage.splits for stage in planned.waiting):
        return
    config = context.config.stage
    survey = import_module("rlhfkit.data.survey")
    given = [split for split in SPLITS if planned.gives(split) is not None]
    asks = any(split in given for split in ("prompts", "demonstrations"))
    for stage in planned.waiting:
        if stage.name not in NEEDS:  # prepare and those of plugins
            yield from (partial(_readable, context, split) for split in stage.splits)
    if "demonstrations" in given:
        for name in (name for name in ("sft", "rl_sft") if name in names):
            yield partial(survey.demonstrations, context, text, name)
        if "reward_model" in names and config.reward_model.normalise_on != 0:
            yield partial(_readable, context, "demonstrations")
    if asks and ("sample" in names or ("rl" in names and planned.online)):
        yield partial(survey.training_prompts, context, text)
        yield partial(_parts, context)
    if asks and text is not None and "rl" in names and planned.online:
        yield partial(_selection, context, text)
    if "label" in names and planned.imports_rankings:
        yield partial(survey.rankings, context, text)
    if "pretraining" in given:
        for option, limit in _pretraining_limits(planned).items():
            yield partial(survey.pretraining, context, text, option, limit)
    split_later = "prepare" in names and config.prepare.test_fraction
    if (asks or "eval_prompts" in given) and "evaluate" in names and not split_later:
        yield partial(survey.evaluation_prompts, context, text)


def _parts(context: Context) -> None:
    """Both sides of `ranked_fraction`, of which none may be empty."""
    sources = import_module("rlhfkit.data.sources")
    for ranked in (True, False):
        sources.part_of_prompts(context, ranked)


def _selection(context: Context, text: Any) -> None:
    """Prompts to select RL's policy by."""
    import_module("rlhfkit.data.sources").prompts_of_rl_and_selection(context, text)


def _readable(context: Context, split: Split) -> None:
    """Read a split whose lengths say nothing yet."""
    sources = import_module("rlhfkit.data.sources")
    if split == "pretraining":
        sources.pretraining_texts(context)
    else:
        sources.rows_of(context, split)


def _pretraining_limits(planned: Planned) -> dict[str, int]:
    """By option, how many tokens of a pretraining text the stages read."""
    config, names = planned.context.config, planned.names
    found: dict[str, int] = {
        f"stage.{name}.pretraining_length": options.pretraining_length
        for name, options in (("sft", config.stage.sft), ("rl_sft", config.stage.rl_sft))
        if name in names and options.pretraining_fraction
    }
    if "rl" in names and isinstance(config.optimizer, OnlineConfig) and config.optimizer.ptx_coef:
        found["optimizer.ptx_length"] = config.optimizer.ptx_length
    return found


def _refuse_missing_folder(option: str, path: str) -> None:
    """`UserError` for what can be no name on the hub and is no folder."""
    folder = Path(path).expanduser()
    if (path.startswith((".", "/", "~")) or path.count("/") > 1) and not folder.is_dir():
        siblings = folder.parent.iterdir() if folder.parent.is_dir() else ()
        names = [str(other) for other in siblings if other.is_dir()]
        near = nearest(str(folder), get_close_matches(str(folder), names, n=5, cutoff=0.0))
        raise UserError(f"{option}={path}: no such folder; {near}")
