import pytest
import torch
from torch import nn

from gormpo_density.models.nets import MLP


@pytest.mark.parametrize(("hidden", "linears"), [([], 1), ([5], 2), ((5, 6, 7), 4)])
def test_widths(hidden, linears):
    net = MLP(3, hidden, 2)
    layers = [layer for layer in net.modules() if isinstance(layer, nn.Linear)]
    assert len(layers) == linears
    assert [layer.out_features for layer in layers] == [*hidden, 2]
    assert net(torch.zeros(4, 5, 3)).shape == (4, 5, 2)


def test_without_hidden_layers_it_is_a_linear_map():
    net = MLP(3, [], 2)
    x, y = torch.randn(2, 4, 3, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(net(x + y) + net(torch.zeros(4, 3)), net(x) + net(y))


def test_the_input_is_left_alone():
    x = torch.ones(4, 3)
    MLP(3, [5], 2)(x)
    assert torch.equal(x, torch.ones(4, 3))
