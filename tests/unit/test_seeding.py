import pytest
import torch
from torch import nn

from gormpo_density.seeding import reinitialise


def test_reinitialise_depends_on_its_seed_only():
    nets = [nn.Linear(3, 2), nn.Linear(3, 2), nn.Linear(3, 2)]
    state = torch.get_rng_state()
    for net, seed in zip(nets, (1, 1, 2), strict=True):
        reinitialise(net, seed)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(nets[0].weight, nets[1].weight)
    assert not torch.equal(nets[0].weight, nets[2].weight)


def test_reinitialise_on_the_cpu_leaves_gpus_alone(monkeypatch):
    def refuse(seed):
        raise AssertionError("every GPU was seeded")

    monkeypatch.setattr(torch.cuda, "manual_seed_all", refuse)
    reinitialise(nn.Linear(3, 2), 0)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_reinitialise_on_a_gpu_depends_on_its_seed_only():
    nets = [nn.Linear(3, 2, device="cuda") for _ in range(2)]
    state = torch.cuda.get_rng_state()
    for net in nets:
        reinitialise(net, 1)
    assert torch.equal(torch.cuda.get_rng_state(), state)
    assert torch.equal(nets[0].weight, nets[1].weight)


def test_reinitialise_asks_a_model_after_its_layers():
    class Parent(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(2, 2)

        def reset_parameters(self):
            nn.init.zeros_(self.layer.weight)

    model = Parent()
    reinitialise(model, 0)
    assert torch.equal(model.layer.weight, torch.zeros(2, 2))
    assert model.layer.bias.any()
