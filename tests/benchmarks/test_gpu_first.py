"""The first minutes on a GPU, rehearsed on a CPU: what they compare is compared."""

from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
SHAPE = {"hidden_size": 64, "num_hidden_layers": 2, "intermediate_size": 64}


@pytest.fixture
def parity(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import gpu_parity

    monkeypatch.setattr(gpu_parity, "PARITY_SHAPE", gpu_parity.PARITY_SHAPE | SHAPE)
    return gpu_parity


@pytest.fixture
def settings(parity):
    from dataclasses import replace

    from gpu_first import REHEARSED

    return replace(REHEARSED, device="cpu")


def test_roles_on_one_base_are_the_models_alone(parity, settings):
    found = parity.shared_roles(settings)["largest difference"]
    assert found.keys() == {"policy", "reference", "value", "reward"}
    assert all(value == 0 for of in found.values() for value in of.values())


def test_an_adapter_of_another_role_is_found(parity, settings, monkeypatch):
    """The models alone get the reference's adapter, whoever they are."""
    draw = parity._draw_adapter

    def other(model, role):
        alone = not any(f".{role}." in name for name, _ in named(model))
        if alone:
            for weight in parity._adapter(model, "default"):
                weight.data.fill_(0.01)
        else:
            draw(model, role)

    def named(model):
        return parity._language_model(model).model.named_parameters()

    monkeypatch.setattr(parity, "_draw_adapter", other)
    found = parity.shared_roles(settings)["largest difference"]
    assert all(of["outputs"] > 1e-3 for of in found.values())


def test_two_runs_are_compared_number_by_number(parity):
    rows = {stage: [{"train_loss": 2.0, "train_runtime": 1.0}] for stage in parity.TRAINED}
    other = {**rows, "rl": [{"train_loss": 2.5, "train_runtime": 9.0}]}
    found = parity._compare(other, rows)
    assert found["largest relative difference"] == {"sft": 0.0, "reward_model": 0.0, "rl": 0.25}
    assert found["numbers compared"] == {"sft": 1, "reward_model": 1, "rl": 1}
