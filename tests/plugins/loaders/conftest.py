"""An SFT and a reward model made with a loader, with adapters that change something."""

from pathlib import Path
from typing import NamedTuple

import pytest
import torch

from rlhfkit.context import Context
from rlhfkit.testing import tiny


class Trained(NamedTuple):
    context: Context
    sft: str
    reward: str
    base: Path


def tiny_llama(path):
    tiny.language_model(path, hidden_size=64, intermediate_size=64)


def perturb(parameters, seed, scale=0.05):
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in parameters:
            parameter += scale * torch.randn(parameter.shape, generator=generator)


@pytest.fixture
def trained(make_context, tmp_path):
    """`trained("lora")`: a context, and paths of an SFT and a reward model made with it.

    write: what writes the base model to a path; a tiny Llama unless told.
    """

    def make(loader, *overrides, write=None):
        base = tmp_path / "base"
        write = write or (
            lambda path: tiny.language_model(path, hidden_size=64, intermediate_size=64)
        )
        write(base)
        context = make_context(f"loader={loader}", f"model.path={base}", *overrides)
        built = context.build("loader")
        sft = built.language_model(None, trainable=True)
        perturb(sft.trainable_parameters(), 1)
        sft.save(tmp_path / "sft")
        reward = built.scalar_model(str(tmp_path / "sft"), trainable=True)
        perturb(reward.trainable_parameters(), 2)
        reward.save(tmp_path / "reward")
        return Trained(context, str(tmp_path / "sft"), str(tmp_path / "reward"), base)

    return make
