"""Run by two processes: shards a tiny model, and says how many numbers each one keeps."""

import atexit
import os
from types import SimpleNamespace

import torch
from transformers import LlamaForCausalLM

from rlhfkit.config.run import RunConfig
from rlhfkit.distributed import processes
from rlhfkit.distributed.fsdp import shard_trainer, unsharded, weights_to_save
from rlhfkit.runner.launcher_checks import check_launcher
from rlhfkit.testing import tiny


def main():
    check_launcher(RunConfig(stages=[], loader=SimpleNamespace(name="full")), [])
    processes.init_process_group()
    model = LlamaForCausalLM(tiny.config(tie_word_embeddings=True))
    before = {name: value.detach().clone() for name, value in model.state_dict().items()}
    tied = {"lm_head.weight"}
    shard_trainer(SimpleNamespace(model=model, args=SimpleNamespace(device=torch.device("cpu"))))
    kept = sum(value.to_local().numel() for value in model.parameters())
    for _ in range(2):  # spread again in between
        with unsharded(model):
            with unsharded(model):
                pass  # its end leaves what is around it
            found = weights_to_save(model)["state_dict"]
            assert found.keys() == before.keys() - tied
            assert all(torch.equal(found[name], before[name]) for name in found)
        assert kept == sum(value.to_local().numel() for value in model.parameters())
    shares = processes.gather([kept])
    if processes.is_main():
        print(*shares, sum(before[name].numel() for name in before.keys() - tied))
    atexit.register(os._exit, 3)  # nobody is to come to Python's own end
    processes.shutdown()


main()
