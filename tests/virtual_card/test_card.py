"""The virtual card is like a card where it matters: what it refuses, and what it counts."""

import json

import pytest

SCENES = ("devices", "generators", "memory", "numbers", "precision", "waits", "abilities")
MIXED = "RuntimeError: Expected all tensors to be on the same device, but found"


@pytest.fixture(scope="module")
def seen(card_process):
    """What every scene gave, in one process."""
    return json.loads(card_process("-m", "tests.virtual_card.scenes", *SCENES))


def test_tensors_are_on_the_card(seen):
    found = seen["devices"]
    assert [found[name] for name in ("tensor", "product", "module")] == ["cuda:0"] * 3
    assert found["through a view"] == [[5, 1, 1], [1, 1, 1]]
    assert found["second card"] == "RuntimeError: CUDA error: invalid device ordinal"


def test_devices_do_not_mix(seen):
    found = seen["devices"]
    for name in ("mixed", "mixed indices", "mixed attention"):
        assert found[name].startswith(MIXED), name
    assert found["a number of the host"] == 20
    assert found["indices of the host"] == [[1, 1, 1]]


def test_generators_belong_to_a_device(seen):
    found = seen["generators"]
    wrong = "RuntimeError: Expected a '{}' device type for generator but found '{}'"
    assert found["device"] == "cuda:0"
    assert found["state"]
    assert found["all states"]
    assert found["of the host"].startswith(wrong.format("cuda", "cpu"))
    assert found["on the host"].startswith(wrong.format("cpu", "cuda"))


def test_dropout_draws_on_the_card(seen):
    assert seen["generators"]["dropout leaves the host's generator"]
    assert seen["generators"]["dropout"] == [0, 2]


def test_memory_runs_out_and_is_given_back(seen):
    found = seen["memory"]
    assert (found["held"], found["grown"], found["freed"]) == (1024, 1024 + 4096, 1024)
    for name, size in (("made", 1028), ("computed", 2048)):
        text = f"OutOfMemoryError: CUDA out of memory. Tried to allocate {size} bytes."
        assert found[name].startswith(text)
    assert (found["after"], found["peak"]) == (1024, 1024)
    assert found["in the limit"] == "cuda:0"
    assert found["in other words"] == "RuntimeError: CUDA error: out of memory"


def test_attention_is_that_of_the_host(seen):
    assert max(seen["numbers"].values()) < 1e-5, seen["numbers"]


def test_precisions(seen):
    found = seen["precision"]
    assert found["autocast"] == ["torch.bfloat16", "torch.float32", "torch.bfloat16"]
    assert (found["mm"], found["addmm"]) == ("torch.float32", "torch.float32")
    assert "query, key, and value to have the same dtype" in found["mixed attention"]


@pytest.mark.parametrize(
    ("name", "kernels", "waits", "uploads"),
    [
        ("item", 0, 1, 0),
        ("tolist", 1, 1, 0),
        ("cpu", 1, 1, 0),
        ("non_blocking", 1, 0, 0),
        ("nonzero", 1, 1, 0),
        ("mask", 2, 1, 0),
        ("if", 2, 1, 0),
        ("upload", 1, 0, 1),
        ("views", 0, 0, 0),
        ("two", 2, 0, 0),
        ("backward", 5, 0, 0),  # clone, exp, sum, the ones it starts from, the product
        ("host", 0, 0, 0),
    ],
)
def test_counts(seen, name, kernels, waits, uploads):
    assert seen["waits"][name] == [kernels, waits, uploads]


def test_the_usual_card_has_bfloat16(seen):
    assert seen["abilities"] == {"capability": [8, 9], "bfloat16": [True, True], "gib": [24, 24]}


@pytest.mark.parametrize(("capability", "own"), [("7.5", False), ("9.0", True)])
def test_other_cards(card_process, capability, own):
    env = {"VIRTUAL_CUDA_CAPABILITY": capability, "VIRTUAL_CUDA_GIB": "12"}
    env |= {"VIRTUAL_CUDA_USED_GIB": "2", "VIRTUAL_CUDA_LIMIT_MIB": "0.5"}
    env |= {"VIRTUAL_CUDA_OOM_TEXT": "CUDA driver error: out of memory"}
    printed = card_process("-m", "tests.virtual_card.scenes", "abilities", "out_of_half", **env)
    assert json.loads(printed) == {
        "abilities": {
            "capability": [int(part) for part in capability.split(".")],
            "bfloat16": [own, True],
            "gib": [10, 12],
        },
        "out_of_half": ["nothing", "RuntimeError: CUDA driver error: out of memory"],
    }


def test_runs_are_tried_one_by_one(on_card):
    whole, refused = on_card(
        [
            {"name": "whole", "overrides": ["loader=lora", "stages=[sft]"]},
            {"name": "refused", "overrides": ["stages=[nothing]"]},
        ]
    )
    assert whole["ok"], whole
    assert whole["peak_mib"] > 0
    assert not refused["ok"]
    assert refused["error"].startswith("UserError:"), refused
    assert "(rlhfkit/" in refused["error"]
