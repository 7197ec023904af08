import pytest
import torch
from torch import nn

from gormpo_density.checkpoints import pack_state, restore_state
from gormpo_density.persistence import load_tensors, save_tensors


def parts(seed: int) -> dict:
    generator = torch.Generator().manual_seed(seed)
    net = nn.Linear(2, 1)
    net.weight.data.normal_(generator=generator)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.1, fused=True)
    return {"net": net, "net_optimizer": optimizer, "draws": generator, "coef": torch.zeros(())}


def train(parts: dict, steps: int) -> None:
    for _ in range(steps):
        rows = torch.randn(8, 2, generator=parts["draws"])
        parts["net_optimizer"].zero_grad()
        parts["net"](rows).square().sum().backward()
        parts["net_optimizer"].step()
        parts["coef"] += 1


def test_restored_parts_go_on_to_the_same_numbers(tmp_path) -> None:
    ours, theirs = parts(0), parts(1)
    train(ours, 3)
    save_tensors(tmp_path / "state.safetensors", pack_state(ours), {})
    restore_state(theirs, load_tensors(tmp_path / "state.safetensors")[0])
    for each in (ours, theirs):
        train(each, 3)
    first, second = pack_state(ours), pack_state(theirs)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_names_say_whose_a_tensor_is() -> None:
    ours = parts(0)
    train(ours, 1)
    assert {"net.weight", "net_optimizer.0.exp_avg", "draws.state", "coef.value"} < set(
        pack_state(ours)
    )


def test_an_optimizer_that_has_not_stepped_is_restored_as_such() -> None:
    ours, theirs = parts(0), parts(1)
    restore_state(theirs, pack_state(ours))
    assert theirs["net_optimizer"].state_dict()["state"] == {}


def test_the_state_of_other_parts_is_refused() -> None:
    ours = parts(0)
    state = {name: value for name, value in pack_state(ours).items() if name != "net.bias"}
    with pytest.raises(RuntimeError, match="bias"):
        restore_state(ours, state)
