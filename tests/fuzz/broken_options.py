"""Overrides and recipes that say nothing, or nothing that a run could be made of."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Override:
    """Words of a command line, and what the line says of them."""

    words: tuple[str, ...]
    says: str

    @property
    def id(self) -> str:
        return " ".join(self.words).replace("\0", "\\0")[:60] or "nothing"


def _of(word: str, says: str) -> Override:
    return Override((word,), says)


NO_GROUP = "the options cannot be composed: Config group override must be a string or a list"

OVERRIDES = [
    # what Hydra's grammar does not take
    _of("seed=[1", "cannot read 'seed=[1'"),
    _of("seed={1", "cannot read 'seed={1'"),
    _of("stages=[sft,,rl]", "cannot read 'stages=[sft,,rl]'"),
    _of("model.path='open", "cannot read 'model.path='open'"),
    _of("=1", NO_GROUP),
    _of("reuse=~nobody/x", "cannot read 'reuse=~nobody/x'"),
    _of("seed=1=2", "cannot read 'seed=1=2'"),
    # wrong names
    _of("sed=1", "sed: no such option; did you mean 'seed'"),
    _of("kl=fix", "kl=fix: no such choice; did you mean 'fixed'?"),
    _of("kl=../kl/fixed", "kl/../kl=fixed: no such choice"),
    _of("kl.kl_coeff=1", "kl.kl_coeff: no such option"),
    _of("stage.stf.learning_rate=1", "stage.stf: no such option; did you mean 'sft'"),
    _of("stage.sft.learning_rate.x=1", "stage.sft.learning_rate"),
    _of("+colour=red", "colour: no such option"),
    _of("++colour=red", "colour: no such option"),
    _of("+a.b=1", "a: no such option"),
    _of("+stage.sft.lerning_rate=1", "stage.sft.lerning_rate: no such option; did you mean"),
    _of("++kl.targt=1", "kl.targt: no such option; did you mean 'target'?"),
    _of("+model.pth=x", "model.pth: no such option; did you mean 'path'"),
    _of("+evaluator.win_rate.resample=1", "evaluator.win_rate.resample: no such option"),
    _of("+reward.length=1", "reward.length: no component of this name is chosen"),
    _of("++data.files={}", "data.files: no component of this name is chosen"),
    _of("~kl", "kl: Structured config of type `RunConfig` has missing mandatory value"),
    _of("~colour", "colour"),
    _of("recipe=consumer_9gb", "recipe=consumer_9gb: no such choice; did you mean"),
    _of("stages=[sft,evalute]", "no stage 'evalute'; did you mean 'evaluate'?"),
    _of("stages=[report,sft]", "each once, in the order"),
    _of("stages=[report,report]", "each once, in the order"),
    _of("force_from=rll", "no stage 'rll'; did you mean 'rl'"),
    # wrong types
    _of("seed=x", "seed: Value 'x' of type 'str' could not be converted to Integer"),
    _of("seed=1.5", "seed: Value '1.5' of type 'float' could not be converted to Integer"),
    _of("seed=null", "seed: field 'seed' is not Optional"),
    _of("seed=[1]", "seed"),
    _of("seed={a:1}", "seed"),
    _of("run_dir=null", "run_dir: field 'run_dir' is not Optional"),
    _of("stages=sft", "stages: Invalid value assigned"),
    _of("stages=null", "stages: field 'stages' is not Optional"),
    _of("stages=[[sft]]", "stages=[['sft']]: must be a list of names"),
    _of("stages=[null]", "stages"),
    _of("report_to=[[tensorboard]]", "report_to=[['tensorboard']]: must be a list of names"),
    _of("stage.sample.models=[[sft]]", "stage.sample.models=[['sft']]: must be a list of names"),
    _of("labeler.labelers=[[x]]", "labeler.labelers=[['x']]: must be a list of names"),
    _of("loader.lora_r=many", "loader.lora_r: Value 'many' of type 'str'"),
    _of("model.chat=perhaps", "model.chat: Value 'perhaps' is not a valid bool"),
    _of("stage=7", "stage"),
    _of("model=null", NO_GROUP),
    _of("kl=7", NO_GROUP),
    _of("kl=[fixed,adaptive]", "kl"),
    _of("kl=null", NO_GROUP),
    _of("reward=null", NO_GROUP),
    _of("data=null", NO_GROUP),
    _of("kl.name=hm", "kl.name=hm: choose it with kl=hm"),
    _of("kl.name=fixed", "kl.name=fixed: choose it with kl=fixed"),
    _of("reward.reward_model.name=length", "reward.reward_model.name=length: choose it with"),
    # values outside their meaning
    _of("seed=-1", "seed=-1: must be at least 0"),
    _of("seed=4294967296", "seed=4294967296: must be at least 0 and below 4294967296"),
    _of("seed=99999999999999999999", "seed=99999999999999999999: must be"),
    _of("run_name=", "run_name: is empty"),
    _of("run_name=' '", "run_name: is empty"),
    Override(("run_dir=", "recipe=quickstart"), "run_dir: is empty"),
    _of("eval_fraction=nan", "eval_fraction=nan: must be"),
    _of("checkpoint.save_minutes=0", "checkpoint.save_minutes=0"),
    _of("checkpoint.save_total_limit=-1", "checkpoint.save_total_limit=-1: must be"),
    _of("gpu=many", "gpu=many: not a size; write it as in gpu=12GB"),
    _of("reuse=no/such/place", "reuse=no/such/place: no such directory"),
    _of("model.dtype=int8", "model.dtype=int8"),
    Override(("reward=[format]", "reward.format.pattern='('"), "no regular expression"),
    # interpolations
    _of("seed=${seed}", "seed: Recursive interpolation detected"),
    _of("run_name=${run_dir}", "Recursive interpolation detected"),
    _of("model.path=${nothing}", "model.path: Interpolation key 'nothing' not found"),
    _of("model.path=${oc.env:NO_SUCH_VARIABLE}", "Environment variable 'NO_SUCH_VARIABLE'"),
    _of("model.path=${no.such.resolver:1}", "model.path"),
    _of("seed=${run_name}", "seed"),
    # nothing to go by
    _of("labeler=reward_model", "labeler.path"),
    _of("sampler=server", "sampler.model"),
]  # fmt: skip

PACKAGE = "# @package _global_\n"
RECIPES: dict[str, tuple[str | bytes, str]] = {
    "a list": ("- kl: fixed\n", "recipe: no such option"),
    "a text": ("just words\n", ""),
    "a number": ("7\n", ""),
    "tabs": (f"{PACKAGE}model:\n\tpath: x\n", "mine.yaml"),
    "an open bracket": (f"{PACKAGE}stages: [sft\n", "mine.yaml"),
    "an open quote": (f"{PACKAGE}run_name: 'x\n", "mine.yaml"),
    "a key twice": (f"{PACKAGE}seed: 1\nseed: 2\n", "seed"),
    "two documents": (f"{PACKAGE}seed: 1\n---\nseed: 2\n", "mine.yaml"),
    "not UTF-8": (b"# @package _global_\nrun_name: \xff\n", "utf-8"),
    "a null byte": (f"{PACKAGE}run_name: a\0b\n", "mine.yaml"),
    "an object of Python": (f"{PACKAGE}seed: !!python/name:os.getpid\n", "python/name"),
    "an unknown tag": (f"{PACKAGE}seed: !mine 7\n", "!mine"),
    "an unknown anchor": (f"{PACKAGE}seed: *other\n", "other"),
    "indented wrongly": (f"{PACKAGE}stage:\n  sft:\n   a: 1\n  b: 2\n c: 3\n", "mine.yaml"),
    "nested too deep": (f"{PACKAGE}seed: {'[' * 3000}\n", ""),
    "an unknown option": (f"{PACKAGE}stage:\n  sft:\n    lerning_rate: 1\n", "lerning_rate"),
    "an unknown group": (f"{PACKAGE}defaults:\n  - override /colour: red\n", "colour"),
    "an unknown choice": (f"{PACKAGE}defaults:\n  - override /kl: fix\n", "kl=fix: no such choice"),
    "an unknown recipe": (f"{PACKAGE}defaults:\n  - nobodys\n", "nobodys"),
    "itself": (f"{PACKAGE}defaults:\n  - mine\n", "maximum recursion depth exceeded"),
    "defaults of another form": (f"{PACKAGE}defaults: fixed\n", "efaults"),
    "defaults of numbers": (f"{PACKAGE}defaults:\n  - 7\n", ""),
    "a value of another type": (f"{PACKAGE}optimizer:\n  lam: much\n", "lam"),
    "a stage that is a list": (f"{PACKAGE}stage:\n  sft: [1]\n", "list is not a subclass of Sft"),
    "a rate of 1e-4 quoted": (f"{PACKAGE}seed: '1e-4'\n", "seed"),
    "a callable": (f"{PACKAGE}kl:\n  _target_: os.system\n", "_target_"),
    "another build": (f"{PACKAGE}kl:\n  build: os:system\n", "build: no such option"),
}  # fmt: skip
"""A recipe's text, and what the line says of it."""
