"""The two convolutional classifiers: sizes as published, any length, gradients everywhere."""

import pytest
import torch

from gormpo_density.augmentation.networks import FCN, ConvBlock, ResNet1d


def conv(i: int, o: int, k: int) -> int:
    """Parameters of a convolution with bias and of the batch normalisation after it."""
    return i * o * k + o + 2 * o


def test_fcn_has_the_published_layers() -> None:
    expected = conv(1, 128, 8) + conv(128, 256, 5) + conv(256, 128, 3) + 128 * 3 + 3
    assert sum(p.numel() for p in FCN(1, 3).parameters()) == expected == 265_091


def test_resnet_has_the_published_layers() -> None:
    def block(i: int, o: int) -> int:
        shortcut = 2 * o if i == o else conv(i, o, 1)
        return conv(i, o, 8) + conv(o, o, 5) + conv(o, o, 3) + shortcut

    expected = block(1, 64) + block(64, 128) + block(128, 128) + 128 * 2 + 2
    assert (
        sum(p.numel() for p in ResNet1d(1, 2).parameters()) == expected == 504_258
    )  # Keras counts 2,560 averages of the norms too


@pytest.mark.parametrize("network", [ResNet1d, FCN])
@pytest.mark.parametrize(("length", "channels"), [(1, 1), (7, 3), (64, 2)])
def test_any_length_and_number_of_channels(network, length, channels) -> None:
    model = network(channels, 4)
    logits = model(torch.randn(5, length, channels, generator=torch.Generator().manual_seed(0)))
    assert logits.shape == (5, 4)
    logits.square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize("kernel_size", [1, 3, 5, 8])
def test_a_block_keeps_the_length_and_sees_the_kernel_around_a_step(kernel_size) -> None:
    block = ConvBlock(1, 1, kernel_size).double().eval()
    torch.nn.init.ones_(block.convolution.weight)
    torch.nn.init.zeros_(block.convolution.bias)
    x = torch.zeros(1, 1, 20, dtype=torch.float64)
    x[0, 0, 10] = 1
    seen = block(x)[0, 0].nonzero().flatten().tolist()
    before, after = kernel_size // 2, (kernel_size - 1) // 2
    assert seen == list(range(10 - before, 10 + after + 1))
    assert block(x).shape == x.shape


def test_a_residual_block_is_the_sum_of_both_ways() -> None:
    block = ResNet1d(2, 2).double().eval().blocks[0]
    x = torch.randn(3, 2, 12, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    hidden = torch.relu(block.second(torch.relu(block.first(x))))
    expected = torch.relu(block.third(hidden) + block.shortcut(x))
    torch.testing.assert_close(block(x), expected)
