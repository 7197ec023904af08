import logging
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from gormpo_density.standardize import Standardizer


def fitted(x: Tensor) -> Standardizer:
    standardizer = Standardizer(tuple(x.shape[1:])).to(x.dtype)
    standardizer.fit(x)
    return standardizer


def test_it_starts_as_the_identity() -> None:
    x = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    standardizer = Standardizer((3,))
    assert torch.equal(standardizer(x), x)
    assert standardizer.log_abs_det.item() == 0


def test_known_statistics() -> None:
    standardizer = fitted(torch.tensor([[1.0, -10.0], [3.0, 30.0]]))
    assert standardizer.mean.tolist() == [2.0, 10.0]
    assert standardizer.scale.tolist() == [1.0, 20.0]
    assert standardizer(torch.tensor([[3.0, 50.0]])).tolist() == [[1.0, 2.0]]
    assert standardizer.log_abs_det.item() == pytest.approx(-math.log(20))


def test_windows_share_statistics_over_time() -> None:
    x = torch.tensor([[[0.0, 1.0], [2.0, 1.0]], [[4.0, 3.0], [6.0, 3.0]]])  # (B, T, D) = (2, 2, 2)
    standardizer = fitted(x)
    assert standardizer.mean.tolist() == [3.0, 2.0]
    torch.testing.assert_close(standardizer.scale, torch.tensor([math.sqrt(5), 1.0]))
    assert standardizer.log_abs_det.item() == pytest.approx(-2 * math.log(math.sqrt(5)))


@given(
    event_shape=st.sampled_from([(1,), (5,), (3, 1), (2, 4)]),
    offset=st.floats(-100, 100),
    spread=st.floats(0.01, 100),
)
@settings(derandomize=True, max_examples=30, deadline=None)
def test_inverse_moments_and_log_det(
    event_shape: tuple[int, ...], offset: float, spread: float
) -> None:
    noise = torch.randn(50, *event_shape, generator=torch.Generator().manual_seed(1))
    x = offset + spread * noise.double()
    standardizer = fitted(x)
    z = standardizer(x)
    rows = z.reshape(-1, event_shape[-1])
    torch.testing.assert_close(rows.mean(0), torch.zeros_like(rows[0]), atol=1e-9, rtol=0)
    torch.testing.assert_close(rows.std(0, correction=0), torch.ones_like(rows[0]))
    torch.testing.assert_close(standardizer.inverse(z), x)
    jacobian = torch.autograd.functional.jacobian(standardizer, x[0])
    size = math.prod(event_shape)
    assert isinstance(jacobian, Tensor)
    expected = jacobian.reshape(size, size).slogdet().logabsdet
    torch.testing.assert_close(standardizer.log_abs_det, expected)


def test_statistics_survive_a_large_offset() -> None:
    x = 1e4 + torch.tensor([[-1.0], [1.0]]).repeat(50_000, 1)
    assert fitted(x).scale.item() == pytest.approx(1)  # sums of squares in float32 would miss it


@pytest.mark.parametrize("value", [0.0, 0.1, -1e6])
def test_a_constant_column_is_named_and_keeps_its_unit(
    value: float, caplog: pytest.LogCaptureFixture
) -> None:
    x = torch.stack([torch.arange(7.0), torch.full((7,), value)], dim=1)
    with caplog.at_level(logging.WARNING):
        standardizer = fitted(x)
    assert "constant columns [1]" in caplog.text
    assert standardizer.scale[1].item() == 1
    assert standardizer(x)[:, 1].abs().max().item() <= 1e-6


def test_gradients_pass_and_statistics_stay() -> None:
    standardizer = fitted(torch.tensor([[0.0], [4.0]]))
    x = torch.ones(3, 1, requires_grad=True)
    standardizer(x).sum().backward()
    assert x.grad is not None
    assert x.grad.flatten().tolist() == [0.5, 0.5, 0.5]
    assert list(standardizer.parameters()) == []
    assert set(standardizer.state_dict()) == {"mean", "scale"}
