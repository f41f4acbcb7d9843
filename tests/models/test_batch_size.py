"""Out of memory: halved, repeated, the same result; and one line when nothing is left to halve."""

import pytest
import torch
from transformers import LlamaForCausalLM
from transformers.integrations.bitsandbytes import Bnb4bitQuantize

from rlhfkit.commands import main
from rlhfkit.commands.error_lines import one_line
from rlhfkit.errors import UserError
from rlhfkit.models.batch_size import (
    AdaptiveBatchSize,
    DoesNotFit,
    Tokens,
    how_many_fit,
    is_out_of_memory,
    rows_of,
)
from rlhfkit.models.forward import teacher_forced_logprobs
from rlhfkit.models.language_model import LanguageModel
from rlhfkit.runner.runner import StageFailed
from rlhfkit.testing import tiny
from rlhfkit.types import Ends
from rlhfkit_plugins.rewards.classifier import ClassifierReward
from rlhfkit_plugins.samplers import CachedConfig, GenerateConfig
from rlhfkit_plugins.samplers.cached import CachedSampler
from rlhfkit_plugins.samplers.generate import GenerateSampler
from tests.memory import limit_rows

PROMPTS = [[5, 6, 7], [8], [9, 10, 11, 12, 13], [5, 6], [7, 7, 7, 7], [12, 9]]
RESPONSES = [[3, 6, 2], [1, 2], [5, 5], [6, 1, 4, 2], [9], [7, 8]]


def model():
    return LanguageModel(LlamaForCausalLM(tiny.config()).eval().requires_grad_(False))


def fail_above(most):
    def compute(size):
        if size > most:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return size

    return compute


def test_the_size_is_halved_until_it_fits_and_remembered(capsys):
    size = AdaptiveBatchSize("scoring", 13)
    undone = []
    assert size.run(100, fail_above(4), undo=lambda: undone.append(True)) == 3
    assert len(undone) == 2
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert lines[0] == (
        "out of memory in scoring with 13 rows at a time: again, and from now on, with 6"
    )
    assert size.run(100, lambda n: n) == 3
    assert size.run(2, lambda n: n) == 2
    assert size.run(100, lambda n: n) == 3, "a small batch does not shrink the size"


def test_a_small_batch_is_halved_not_the_option():
    assert AdaptiveBatchSize("scoring", 64).run(6, fail_above(3)) == 3


def test_nothing_left_to_halve_is_one_line():
    with pytest.raises(UserError) as caught:
        AdaptiveBatchSize("the update", 8, "stage.rl.gradient_checkpointing=true").run(
            8, fail_above(0)
        )
    assert str(caught.value) == (
        "out of memory in the update with one row at a time: try shorter texts "
        "(model.max_prompt_length, sampler.response_length), loader=qlora or "
        "stage.rl.gradient_checkpointing=true"
    )


def test_other_errors_pass():
    def broken(size):
        raise RuntimeError("expected all tensors on one device")

    with pytest.raises(RuntimeError, match="one device"):
        AdaptiveBatchSize("scoring", 8).run(8, broken)


def test_a_real_failure_of_the_cpu_allocator_is_known():
    def allocate(size):
        return torch.empty(size if size < 4 else 10**15).numel()

    assert AdaptiveBatchSize("scoring", 8).run(8, allocate) == 2


def test_groups_that_fitted_are_not_repeated():
    done = []

    def compute(rows):
        if len(rows) > 2 and 5 in rows:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        done.append(list(rows))
        return sum(rows)

    found = list(AdaptiveBatchSize("scoring", 4).map(range(9), compute))
    assert done == [[0, 1, 2, 3], [4, 5], [6, 7], [8]]
    assert [result for _, result in found] == [6, 9, 13, 8]


def test_scoring_gives_the_same_numbers():
    plain = teacher_forced_logprobs(model(), PROMPTS, RESPONSES, 0.7, AdaptiveBatchSize("x", 6))
    small = model()
    seen = limit_rows(small.body, 2)
    found = teacher_forced_logprobs(small, PROMPTS, RESPONSES, 0.7, AdaptiveBatchSize("x", 6))
    assert seen == [6, 3, 1, 1, 1, 1, 1, 1]
    for one, other in zip(plain, found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


def test_a_classifier_gives_the_same_numbers(tmp_path):
    tiny.classifier(tmp_path)
    loaded = tiny.LlamaForSequenceClassification.from_pretrained(tmp_path).eval()
    tokenizer = tiny.PreTrainedTokenizerFast.from_pretrained(tmp_path)
    texts = ["red", "it is fine", "blue blue", "I like you and it"]
    arguments = ([[{"role": "user", "content": "what is best"}]] * 4, texts)
    reward = ClassifierReward(loaded, tokenizer, 4, template_date="2026-01-01")
    plain = reward(*arguments)
    seen = limit_rows(loaded.model, 2)
    assert ClassifierReward(loaded, tokenizer, 4, "2026-01-01")(*arguments) == pytest.approx(
        plain, abs=1e-5
    )
    assert seen == [4, 2, 2]


@pytest.mark.parametrize(
    ("kind", "config"), [(CachedSampler, CachedConfig), (GenerateSampler, GenerateConfig)]
)
def test_sampling_goes_on_as_if_it_had_been_smaller_from_the_start(kind, config, capsys):
    """The generator is set back: a batch of 4 that fails leaves the samples of batches of 2."""

    def sample(size, most):
        small = model()
        limit_rows(small.body, most, after=3 if kind is CachedSampler else 0)
        sampler = kind(config(response_length=12, batch_size=size))
        return sampler.sample(small, PROMPTS, Ends((2,)), torch.Generator().manual_seed(3))

    assert sample(4, most=3) == sample(2, most=4)
    assert "out of memory in sampling with 4 rows" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("lengths", "size", "expected"),
    [([1, 2, 2, 4], 1, 2), ([2, 2, 2, 8], 1, 3), ([3, 3, 3], 2, 2), ([5], 4, 1)],
)
def test_as_many_tokens_as_that_many_of_the_longest_rows(lengths, size, expected):
    assert how_many_fit(lengths, size) == expected


@pytest.mark.parametrize(
    ("lengths", "tokens", "expected"),
    [([1, 2, 2, 4], 5, 2), ([2, 2, 2, 8], 6, 3), ([3, 3, 3], 100, 3), ([5, 6], 4, 1)],
)
def test_as_many_rows_as_have_so_many_tokens(lengths, tokens, expected):
    assert how_many_fit(lengths, Tokens(tokens)) == expected


def test_tokens_as_rows_of_a_length():
    assert [rows_of(Tokens(20), length) for length in (3, 20, 21)] == [6, 1, 1]
    assert rows_of(20, 3) == 20


def test_a_size_in_tokens_is_halved_and_stays_one(capsys):
    def compute(group):
        if len(group) * max(group) > 9:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return group

    rows, size = [2, 2, 2, 3, 5, 8], AdaptiveBatchSize("scoring", Tokens(12))
    groups = [group for group, _ in size.map(rows, compute, lengths=rows)]
    assert groups == [[2, 2, 2], [3], [5], [8]]
    assert size.size == Tokens(6)
    assert isinstance(size.size, Tokens)
    assert "with 12 tokens at a time: again, and from now on, with 6" in capsys.readouterr().out


def test_groups_have_alike_many_tokens():
    rows = [2, 2, 2, 3, 5, 8, 8, 9]
    groups = [group for group, _ in AdaptiveBatchSize("scoring", 2).map(rows, list, lengths=rows)]
    assert groups == [[2, 2, 2, 3], [5, 8], [8, 9]]
    assert all(len(group) * max(group) <= 2 * 9 for group in groups)


def test_a_group_of_tokens_is_halved_too(capsys):
    def compute(group):
        if len(group) * max(group) > 9:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return group

    rows = [2, 2, 2, 3, 5, 8, 8, 9]
    groups = [
        group for group, _ in AdaptiveBatchSize("scoring", 2).map(rows, compute, lengths=rows)
    ]
    assert groups == [[2, 2, 2], [3], [5], [8], [8], [9]]
    assert "with 2 rows at a time" in capsys.readouterr().out


@pytest.mark.parametrize(
    "text",
    [
        "CUDA error: out of memory",
        "CUDA driver error: out of memory",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`",
        "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
        "MPS backend out of memory (MPS allocated: 8.00 GB)",
        "NVML_SUCCESS == r INTERNAL ASSERT FAILED at CUDACachingAllocator.cpp",
        "[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes.",
    ],
)
def test_what_a_full_device_says(text):
    assert is_out_of_memory(RuntimeError(text))


@pytest.mark.parametrize(
    "text",
    [
        "CUDA error: an illegal memory access was encountered",
        "CUDA error: device-side assert triggered",
        "CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasGemmEx`",
        "expected m1 and m2 to have the same dtype",
    ],
)
def test_other_errors_stay_errors(text):
    assert not is_out_of_memory(RuntimeError(text))


def test_loading_without_memory_is_one_line(make_context, tiny_files, monkeypatch):
    context = make_context(f"model.path={tiny_files['model']}", "loader=lora")

    def full(*_, **__):
        raise RuntimeError("CUDA error: out of memory")

    monkeypatch.setattr(LlamaForCausalLM, "to", full)
    with pytest.raises(UserError) as caught:
        context.build("loader").language_model(None)
    assert str(caught.value) == (
        f"out of memory in loading {tiny_files['model']}: try loader=qlora, a smaller model, or "
        f"what `rlhfkit plan` with the same options proposes"
    )


def test_no_memory_while_quantising_is_one_line(make_context, tiny_files, monkeypatch, capsys):
    """transformers would go on, print a page for every layer, and not say what was wrong."""
    context = make_context(f"model.path={tiny_files['model']}", "loader=qlora")
    tried = []

    def full(*arguments, **_):
        tried.append(arguments)
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(Bnb4bitQuantize, "convert", full)
    with pytest.raises(DoesNotFit, match="out of memory in loading model '"):
        context.build("loader").language_model(None)
    assert len(tried) == 1
    assert "CONVERSION" not in capsys.readouterr().err


def test_what_cannot_be_quantised_for_another_reason_is_no_lack_of_memory(
    make_context, tiny_files, monkeypatch
):
    context = make_context(f"model.path={tiny_files['model']}", "loader=qlora")

    def broken(*_, **__):
        raise RuntimeError("an illegal memory access was encountered")

    monkeypatch.setattr(Bnb4bitQuantize, "convert", broken)
    with pytest.raises(UserError, match="cannot be loaded: RuntimeError") as caught:
        context.build("loader").language_model(None)
    assert not isinstance(caught.value, DoesNotFit)


@pytest.mark.parametrize("others", [None, "PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF"])
@pytest.mark.parametrize("platform", ["linux", "win32"])
def test_the_allocators_segments_may_grow(monkeypatch, others, platform):
    """Unless the user chose otherwise; PyTorch warns of it where it has none."""
    before = {others: "max_split_size_mb:64"} if others else {}
    monkeypatch.setattr(main.os, "environ", dict(before))
    monkeypatch.setattr(main.sys, "platform", platform)
    monkeypatch.setattr(main, "_dispatch", lambda _: None)
    monkeypatch.setattr(main, "quiet_libraries", lambda: None)
    main.main(["plugins"])
    expected = "expandable_segments:True" if platform == "linux" and not others else None
    found = {name: value for name, value in main.os.environ.items() if "ALLOC_CONF" in name}
    assert found == (before or ({"PYTORCH_ALLOC_CONF": expected} if expected else {}))


@pytest.mark.parametrize("text", ["CUDA error: out of memory", "CUBLAS_STATUS_ALLOC_FAILED"])
def test_a_full_device_in_an_optimizers_step_is_one_line(text):
    """Nothing is halved there."""
    failed = StageFailed("sft")
    failed.__cause__ = RuntimeError(text)
    said = one_line(failed)
    assert said is not None
    assert said.startswith("out of memory for models and optimizer states: try loader=qlora")
    failed.__cause__ = RuntimeError("CUDA error: an illegal memory access was encountered")
    assert one_line(failed) is None
