"""Rows that are held out serve nothing but what they are held out for."""

import pytest
import torch

from rl.assembly import assemble
from rl.stages import Stages


def test_each_split_has_its_own_use(config_of, stages, tmp_path) -> None:
    config = config_of("penalty.name=combination")
    setup = assemble(config, tmp_path, Stages(stages), torch.device("cpu"), progress=False)
    data, loop = setup.data, setup.loop
    real = loop.buffer.layout.unpack(loop.buffer.real)
    assert torch.equal(real.state_action, data.rows("state_action", "train"))
    assert torch.equal(real.reward, data.reward[data.splits["train"]])
    torch.testing.assert_close(real.reference.mean, setup.clone(real.obs).mean)
    _, known = data.discounted_returns(config.sac.gamma)
    val = data.splits["val"]
    assert torch.equal(loop.probe.state_action, data.rows("state_action")[val[known[val]]])
    assert torch.equal(loop.rollouts.starts, data.obs[data.splits["train"]])
    cal = data.splits["cal"]
    calibration = setup.density.calibration
    assert len(calibration.scores) == len(cal)
    action = setup.clone.act(data.obs[cal], torch.Generator().manual_seed(1))  # stream 1 of seed 0
    rows = torch.cat([data.obs[cal], action], 1)
    with torch.no_grad():
        expected = setup.density.score_samples(rows).sort().values
    torch.testing.assert_close(calibration.scores, expected)
    uncertainty = setup.penalty.uncertainty
    typical = uncertainty.raw(setup.dynamics.predict(data.obs[cal], data.action[cal])).median()
    assert uncertainty.unit == pytest.approx(typical.item())
