"""Convolutional networks that classify time series: ResNet and FCN."""

import itertools

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class ConvBlock(nn.Module):
    """Convolution that keeps the length, then batch normalisation: (B, C, T) -> (B, C', T).

    Args:
        in_channels: C.
        out_channels: C'.
        kernel_size: Steps seen at once; of an even one, the future half is the longer.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int) -> None:
        super().__init__()
        self.padding = ((kernel_size - 1) // 2, kernel_size // 2)
        self.convolution = nn.Conv1d(in_channels, out_channels, kernel_size)
        self.norm = nn.BatchNorm1d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalised activations, without a non-linearity."""
        # padding="same" of an even kernel would copy and warn
        y: Tensor = self.norm(self.convolution(F.pad(x, self.padding)))
        return y


class ResidualBlock(nn.Module):
    """Three convolutions beside a shortcut, which is 1 x 1 where the widths differ."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.first = ConvBlock(in_channels, out_channels, 8)
        self.second = ConvBlock(out_channels, out_channels, 5)
        self.third = ConvBlock(out_channels, out_channels, 3)
        is_same = in_channels == out_channels
        self.shortcut = (
            nn.BatchNorm1d(out_channels) if is_same else ConvBlock(in_channels, out_channels, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return relu(third(relu(second(relu(first(x))))) + shortcut(x))."""
        y = self.third(self.second(self.first(x).relu()).relu())
        out: Tensor = (y + self.shortcut(x)).relu()
        return out


class ResNet1d(nn.Module):
    """Three residual blocks of 64, 128 and 128 channels, average over time, linear layer.

    Args:
        n_channels: D.
        n_classes: C.

    Source:
        Wang, Yan & Oates 2017, "Time series classification from scratch with deep neural
        networks", https://arxiv.org/abs/1611.06455, section II.C.
    """

    def __init__(self, n_channels: int, n_classes: int) -> None:
        super().__init__()
        widths = (n_channels, 64, 128, 128)
        pairs = itertools.pairwise(widths)
        self.blocks = nn.Sequential(*(ResidualBlock(i, o) for i, o in pairs))
        self.head = nn.Linear(widths[-1], n_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (B, C) of series x (B, T, D)."""
        logits: Tensor = self.head(self.blocks(x.transpose(1, 2)).mean(2))
        return logits


class FCN(nn.Module):
    """Three convolutions of 128, 256 and 128 channels, average over time, linear layer.

    Args:
        n_channels: D.
        n_classes: C.

    Source:
        Wang, Yan & Oates 2017, https://arxiv.org/abs/1611.06455, section II.B.
    """

    def __init__(self, n_channels: int, n_classes: int) -> None:
        super().__init__()
        self.first = ConvBlock(n_channels, 128, 8)
        self.second = ConvBlock(128, 256, 5)
        self.third = ConvBlock(256, 128, 3)
        self.head = nn.Linear(128, n_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (B, C) of series x (B, T, D)."""
        y = self.first(x.transpose(1, 2)).relu()
        y = self.third(self.second(y).relu()).relu()
        logits: Tensor = self.head(torch.mean(y, 2))
        return logits
