"""`rlhfkit export`: a finished model as PEFT and transformers read it, without rlhfkit.

What the stage was made with counts, not what the command line says of the model; only precision
and trust are the exporter's own.
"""

import shutil
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from peft import PeftModel
from transformers.utils import GENERATION_CONFIG_NAME

from rlhfkit.commands.export_checks import export_target, exported_record, is_there
from rlhfkit.config.run import ExportConfig, RunConfig
from rlhfkit.console import console
from rlhfkit.context import Context
from rlhfkit.data.text_format import TextFormat, load_text_format
from rlhfkit.errors import UserError
from rlhfkit.exports.card import write_card
from rlhfkit.exports.classifier import add_head_to_adapter, prepare_tokenizer, save_classifier
from rlhfkit.exports.form import Form
from rlhfkit.exports.gguf_file import write_gguf
from rlhfkit.exports.ollama import modelfile
from rlhfkit.exports.push import check_push, files_of, push
from rlhfkit.models.generation_config import end_ids, load_generation_config
from rlhfkit.models.loading import is_adapter, load_causal_lm
from rlhfkit.models.merging import merges_exactly
from rlhfkit.models.quantised import dequantised, is_quantised
from rlhfkit.models.scalar_model import HEAD_FILE, load_head
from rlhfkit.models.trust import adapter_weights
from rlhfkit.plugin_manager import Plugins
from rlhfkit.stages.registry import stages_of
from rlhfkit.storage.run_dir import RECORD, RunDir, StageRecord

_AS_TRAINED = ("path", "revision", "chat", "chat_template")
_FOUR_BITS = "loader.bnb_4bit_quant_type"
"""Only loaders with a 4-bit base have this option."""


def export(config: RunConfig, plugins: Plugins) -> Path:
    """Write the model of `export.stage` to `export.to`; gives the directory. With `export.push` it
    goes to the hub, too.

    Raises `UserError` when the stage has no finished model or the directory is in use.
    """
    record, target = exported_record(config, plugins), export_target(config)
    run_dir = RunDir(config.run_dir)
    source = run_dir.stage_dir(record.stage) / "model"
    context = Context(_as_trained(config, record), plugins, run_dir, "export")
    if config.export.push is not None:
        check_push(config.export.push, config.export.dry_run)
    if is_there(target):  # it may, where it is only sent
        _say(f"{target} is sent as it is")
    else:
        try:
            form = _place(context, record, source, target)
        except OSError as error:
            raise UserError(f"export.to={target}: cannot be written ({error.strerror})") from error
        _report(context, record, source, target, form)
    if config.export.push is not None:
        _send(config.export, target)
    return target


def _as_trained(config: RunConfig, record: StageRecord) -> RunConfig:
    missing = [name for name in _AS_TRAINED if f"model.{name}" not in record.settings]
    if missing:
        raise UserError(
            f"{RunDir(config.run_dir).stage_dir(record.stage) / RECORD}: corrupt record (no "
            f"model.{missing[0]}); run again with force_from={record.stage}"
        )
    options = {name: record.settings[f"model.{name}"] for name in _AS_TRAINED}
    options["stop"] = record.settings.get(
        "model.stop", []
    )  # of a run that is older than the option
    return replace(config, model=replace(config.model, **options))


def _place(context: Context, record: StageRecord, source: Path, target: Path) -> Form:
    """Write aside, then rename: the directory is either whole or not there."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=target.parent, prefix=f".{target.name}-") as aside:
        folder = Path(aside) / "model"
        form = _write(context, source, folder)
        write_card(folder, form, record, context.run_dir, stages_of(context.plugins))
        if target.exists():
            target.rmdir()
        folder.replace(target)
    return form


def _write(context: Context, source: Path, target: Path) -> Form:
    """The model, its tokenizer with its template, and of a policy where responses end."""
    text = load_text_format(context)
    whole = context.config.export.merged or not is_adapter(str(source))
    if context.config.export.gguf is not None:
        return _write_gguf(context, text, source, target)
    if (source / HEAD_FILE).exists():
        form = _write_reward_model(context, text, source, target, whole)
    else:
        if whole and is_adapter(str(source)):
            _merged(context, source).save_pretrained(target)
        else:
            shutil.copytree(source, target)
        form = Form(False, not whole, chat=text.chat, notes=_write_ends(context, text, target))
    text.tokenizer.save_pretrained(target)
    return form


def _write_reward_model(
    context: Context, text: TextFormat, source: Path, target: Path, whole: bool
) -> Form:
    notes, head = prepare_tokenizer(text), load_head(source)
    if whole:
        save_classifier(_whole(context, source), head, text.tokenizer, target)
    else:
        shutil.copytree(source, target)
        add_head_to_adapter(target, head)
    return Form(True, not whole, chat=text.chat, score_bias=head.bias.item(), notes=notes)


def _write_gguf(context: Context, text: TextFormat, source: Path, target: Path) -> Form:
    """One file for llama.cpp, and how Ollama is told of it."""
    kind = str(context.config.export.gguf)
    target.mkdir()
    name = f"model-{kind}.gguf"
    write_gguf(_whole(context, source), text, context.config.run_name, kind, target / name)
    temperature = getattr(context.config.sampler, "temperature", 1.0)
    (target / "Modelfile").write_text(modelfile(name, text, temperature), encoding="utf-8")
    return Form(False, False, gguf=name, chat=text.chat)


def _write_ends(context: Context, text: TextFormat, target: Path) -> list[str]:
    """Let `generate` stop where responses end here; gives what has to be said of it. Beside an
    adapter the settings are for its user to read: the base's count."""
    whole, said = (target / GENERATION_CONFIG_NAME).exists(), []
    generation = load_generation_config(context, str(target) if whole else None)
    alone = end_ids(generation, context.config.model.path)
    generation.eos_token_id = [*text.ends.ids]
    generation.to_json_file(target / GENERATION_CONFIG_NAME)  # as unchecked as the base's
    if not whole and text.ends.taught not in alone:
        taught = text.tokenizer.convert_ids_to_tokens(text.ends.taught)
        said.append(
            f"the base's `generate` does not stop at {taught}: with the adapter give it "
            f"eos_token_id={[*text.ends.ids]}, as {GENERATION_CONFIG_NAME} beside it says"
        )
    if text.ends.strings:
        strings = [*text.ends.strings]
        said.append(f"`generate` needs stop_strings={strings} and a tokenizer for model.stop")
    return said


def _say(line: str) -> None:
    console.print(line, markup=False, soft_wrap=True)


def _whole(context: Context, source: Path) -> Any:
    """A model in memory, its adapter added where it is one."""
    if is_adapter(str(source)):
        return _merged(context, source)
    return load_causal_lm(context, str(source))


def _merged(context: Context, adapter: Path) -> Any:
    """The base model, unquantised whatever the loader, with the adapter added to its weights."""
    base = load_causal_lm(context)
    if is_quantised(base):  # its files hold it so
        base = dequantised(base)
    adapter_weights(str(adapter))
    model = PeftModel.from_pretrained(base, str(adapter))
    if not merges_exactly(model):
        raise UserError(
            f"{adapter}: the adapter is on an embedding that is the LM head too, or has biases "
            f"that the base has no place for, so no merged model is the same; use "
            f"export.merged=false"
        )
    return model.merge_and_unload()


def _report(context: Context, record: StageRecord, source: Path, target: Path, form: Form) -> None:
    kind = f"an adapter for {context.config.model.path}" if form.adapter else "a model"
    what = f"{form.gguf} for llama.cpp and Ollama" if form.gguf else kind
    _say(f"{record.stage}: written to {target}, {what}")
    if is_adapter(str(source)) and not form.adapter and _FOUR_BITS in record.settings:
        _say(
            "the adapter was trained on the 4-bit base; the merged model's outputs differ from "
            "the trained one's by the quantisation error"
        )
    for note in form.notes:
        _say(note)
    _say(f"\n{form.snippet(target)}")


def _send(options: ExportConfig, target: Path) -> None:
    sizes = files_of(target)
    if options.dry_run:
        _say(f"\nwould go to {options.push}, {'private' if options.private else 'public'}:")
        for name, size in sizes:
            _say(f"  {size:>13,}  {name}")
        return
    _say(f"sent: {push(target, str(options.push), options.private)}")
