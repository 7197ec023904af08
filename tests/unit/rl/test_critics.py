import copy

import torch
from torch import Tensor, nn

from gormpo_density.seeding import reinitialise
from rl.critics import TwinCritic


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def separate(critic: TwinCritic, which: int) -> nn.Sequential:
    """Return one of the two networks as a plain one."""
    net = nn.Sequential()
    for weight, bias in zip(critic.weights, critic.biases, strict=True):
        layer = nn.Linear(*weight.shape[1:])
        layer.weight.data = weight.data[which].T.clone()
        layer.bias.data = bias.data[which, 0].clone()
        net.extend([layer, nn.ReLU()])
    return net[:-1]


def test_both_are_plain_networks() -> None:
    critic = TwinCritic(3, 2, (16, 8)).double()
    rows = randn(20, 5).double()
    nets = [separate(critic, which).double() for which in (0, 1)]
    expected = torch.stack([net(rows).squeeze(1) for net in nets])
    torch.testing.assert_close(critic(rows), expected, rtol=1e-12, atol=1e-12)
    assert not torch.allclose(expected[0], expected[1])


def test_gradients_are_those_of_plain_networks() -> None:
    critic = TwinCritic(2, 1, (8,)).double()
    rows = randn(20, 3).double()
    net = separate(critic, 1).double()
    net(rows).square().sum().backward()
    critic(rows).square().sum().backward()
    torch.testing.assert_close(critic.weights[0].grad[1].T, net[0].weight.grad)
    torch.testing.assert_close(critic.biases[1].grad[1, 0], net[2].bias.grad)


def test_one_does_not_feel_the_other() -> None:
    critic, rows = TwinCritic(2, 1, (8,)), randn(5, 3)
    critic(rows)[0].sum().backward()
    for weight in critic.parameters():
        assert weight.grad[0].any()
        assert not weight.grad[1].any()


def test_rows_are_standardised_inside() -> None:
    critic = TwinCritic(2, 1, (8,))
    unit = randn(500, 3)
    unit = (unit - unit.mean(0)) / unit.std(0, correction=0)
    expected = critic(unit)
    rows = unit * torch.tensor([1e-3, 1.0, 1e3]) + torch.tensor([0.0, 5.0, -1e3])
    critic.standardise(rows)
    torch.testing.assert_close(critic(rows), expected, rtol=1e-3, atol=1e-3)


def test_a_constant_column_is_only_shifted() -> None:
    critic, rows = TwinCritic(2, 1, (8,)), randn(500, 3)
    rows[:, 1] = 4.1
    critic.standardise(rows)
    moved = rows.clone()
    moved[:, 1] += 0.01
    torch.testing.assert_close(critic(moved), critic(rows), rtol=0, atol=0.02)


def test_weights_are_drawn_as_those_of_a_linear_layer() -> None:
    critic = TwinCritic(15, 1, (400,))
    reinitialise(critic, 0)
    for weight in critic.weights:
        bound = weight.shape[1] ** -0.5
        assert 0.95 * bound < weight.abs().max() <= bound
        assert abs(weight.std().item() / (bound / 3**0.5) - 1) < 0.1


def test_weights_depend_on_their_seed_only() -> None:
    first, second = TwinCritic(2, 1, (8,)), TwinCritic(2, 1, (8,))
    for critic in (first, second):
        reinitialise(critic, 7)
    assert all(map(torch.equal, first.parameters(), second.parameters()))
    other = copy.deepcopy(first)
    reinitialise(other, 8)
    assert not any(map(torch.equal, first.parameters(), other.parameters()))


def test_the_loss_is_the_squared_error_of_both() -> None:
    critic = TwinCritic(2, 1, (8,))
    reinitialise(critic, 0)
    rows = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    first, second = critic(rows)
    goal = torch.arange(5.0)
    each = [(q - goal).square().mean() for q in (first, second)]
    torch.testing.assert_close(critic.loss(rows, goal), sum(each))
    own = torch.stack([first, second + 2]).detach()  # of each its own goal
    torch.testing.assert_close(critic.loss(rows, own).item(), 4.0)
