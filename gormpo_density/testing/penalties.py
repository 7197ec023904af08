"""Checks of penalties: functions of the surprise u and the largest u that counts, cap."""

import math

import torch
from torch import Tensor

from gormpo_density.registry import Formula
from gormpo_density.testing.claims import require

CAPS = (0.5, 1.0, 10.0)
#: A typical row costs at most this share of what the farthest does.
_FREE = 0.01


def _surprises(cap: float) -> Tensor:
    """Give u from far inside the support to far outside, ascending, NaN last."""
    inside = [-math.inf, -1e30, -5.0, -1.0]
    grid = torch.linspace(-0.9, 1.5 * cap, 50).tolist()
    return torch.tensor([*inside, *grid, 1e30, math.inf, math.nan])


def check_one_finite_number_a_row(formula: Formula) -> None:
    """Shape and type are those of u, of no row as well; every value is finite and not negative."""
    for cap in CAPS:
        for u in (_surprises(cap), _surprises(cap).double(), torch.empty(0)):
            given = u.clone()
            values = formula(u, cap)
            require(isinstance(values, Tensor), f"a {type(values).__name__} is returned")
            require(
                values.shape == u.shape, f"penalties {tuple(values.shape)} of {tuple(u.shape)}"
            )
            require(values.dtype == u.dtype, f"penalties of {u.dtype} are {values.dtype}")
            require(values.isfinite().all(), f"a penalty is not finite, cap {cap:g}")
            require((values >= 0).all(), f"a penalty is negative, cap {cap:g}")
            require(torch.equal(u.nan_to_num(), given.nan_to_num()), "u itself was changed")


def check_it_never_falls(formula: Formula) -> None:
    """A more surprising row never costs less; it costs something in the end."""
    for cap in CAPS:
        u = _surprises(cap).double()
        values = formula(u, cap)
        falls = u[:-1][values.diff() < -1e-9 * values.max()].tolist()
        require(not falls, f"it falls after u = {falls[:1]}, cap {cap:g}")
        require(values[-1] > 0, f"it is 0 everywhere, cap {cap:g}")


def check_nothing_costs_more_than_the_cap(formula: Formula) -> None:
    """Beyond u = cap, at infinity and for NaN, the penalty is that at the cap."""
    for cap in CAPS:
        u = torch.tensor([cap, 1.5 * cap, 1e30, math.inf, math.nan], dtype=torch.float64)
        values = formula(u, cap)
        require(torch.allclose(values, values[0]), f"beyond u = {cap:g}: {values.tolist()}")


def check_a_typical_row_is_all_but_free(formula: Formula) -> None:
    """At u = -1 and below it costs at most a hundredth of what it costs at the cap."""
    for cap in CAPS:
        u = torch.tensor([-math.inf, -1e30, -2.0, -1.0, cap], dtype=torch.float64)
        *inside, end = formula(u, cap).tolist()
        require(max(inside) <= _FREE * end, f"{max(inside):g} at u <= -1, {end:g} at u = {cap:g}")


def check_a_row_does_not_see_the_others(formula: Formula) -> None:
    """Rows one by one, and in another order, cost the same as together."""
    u = _surprises(10.0).double()
    together = formula(u, 10.0)
    alone = torch.cat([formula(row, 10.0) for row in u.split(1)])
    require(torch.allclose(alone, together, rtol=1e-9), "a row alone costs another amount")
    backwards = formula(u.flip(0), 10.0).flip(0)
    require(torch.allclose(backwards, together, rtol=1e-9), "the order of the rows matters")


def check_nothing_is_read_on_the_host(formula: Formula) -> None:
    """Reading a value makes a GPU wait; a tensor of the meta device has none to read."""
    values = formula(torch.empty(5, device="meta"), 10.0)
    require(values.device.type == "meta", f"u is on meta, penalties are on {values.device}")
