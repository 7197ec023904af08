"""What runs compiled on a GPU gives the same numbers as it is; that shows without one too."""

import shutil
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._dynamo.testing import CompileCounterWithBackend

from gormpo_density.checkpoints import pack_state, restore_state
from gormpo_density.seeding import reinitialise
from rl import baselines, sac
from rl.baselines import TD3BC
from rl.buffer import Layout, MixedBuffer
from rl.compilation import compiled, without_gradient
from rl.config import SACConfig
from rl.critics import TwinCritic
from rl.policy import Gaussian, TanhGaussianPolicy
from rl.sac import SAC, RewardUnits

OBS, ACTION, ROWS, UPDATES = 4, 2, 200, 6
UNITS = RewardUnits(scale=2.0, penalty_unit=0.5, lowest_q=-10.0, highest_q=10.0)
LEARNERS: dict[str, dict[str, Any] | None] = {
    "sac, KL": {},
    "sac, entropy": {"kl": 0.0},
    "sac, fixed entropy": {"kl": 0.0, "alpha": 0.2},
    "td3bc": None,
}

Learner = SAC | TD3BC


needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")


@pytest.fixture
def compile_with(monkeypatch) -> Callable[[Any], None]:
    """Let what follows on the CPU be compiled as on a GPU, but by the given back end."""
    compile_as_asked = torch.compile

    def install(backend: Any) -> None:
        def with_backend(function: Any, *, mode: str, **options: Any) -> Any:
            return compile_as_asked(function, backend=backend, **options)

        monkeypatch.setattr(torch, "compile", with_backend)
        for module in (sac, baselines):
            monkeypatch.setattr(module, "compiled", lambda f, _: compiled(f, torch.device("cuda")))

    return install


def learner(options: dict[str, Any] | None, device: str = "cpu") -> Learner:
    bound = torch.ones(ACTION)
    actor, critic = (
        TanhGaussianPolicy(OBS, -bound, 2 * bound, (8,)),
        TwinCritic(OBS, ACTION, (8, 8)),
    )
    reinitialise(actor, 0)
    reinitialise(critic, 1)
    actor, critic = actor.to(device), critic.to(device)
    if options is None:
        return TD3BC(actor, critic, SACConfig(critic_lr=1e-3), UNITS)
    rates = {"critic_lr": 1e-3, "actor_lr": 1e-3}
    return SAC(actor, critic, SACConfig(**rates, **options), UNITS, 100)


def buffer(device: str = "cpu") -> MixedBuffer:
    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    generator, layout = torch.Generator().manual_seed(0), Layout(OBS, ACTION)
    rows = layout.pack(
        normal(ROWS, OBS + ACTION),
        normal(ROWS, OBS),
        normal(ROWS),
        normal(ROWS).abs(),
        normal(ROWS) > 1,
        Gaussian(normal(ROWS, ACTION), -normal(ROWS, ACTION).abs()),
    ).to(device)
    draws = torch.Generator(device).manual_seed(1)
    mixed = MixedBuffer(rows[:100], layout, retain=1, generator=draws)
    mixed.add(0, rows[100:])
    return mixed


def learn(learner: Learner, mixed: MixedBuffer, updates: int = UPDATES) -> dict[str, Tensor]:
    """Do some updates and return all that they changed."""
    learner.coef.fill_(0.7)
    for batch in mixed.batches(updates, 16, 0.5):
        learner.update(batch, mixed.generator)
    state = pack_state({**learner.parts(), "draws": mixed.generator, "sums": learner.sums})
    return {name: value.detach().cpu().clone() for name, value in state.items()}


def assert_close(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-5, msg=name)


@pytest.mark.parametrize("name", LEARNERS)
def test_a_compiled_update_gives_the_numbers_of_one_as_it_is(name, compile_with) -> None:
    """As one graph for each loss (fullgraph), made once for all updates."""
    as_it_is = learn(learner(LEARNERS[name]), buffer())
    counter = CompileCounterWithBackend("aot_eager")
    compile_with(counter)
    assert_close(learn(learner(LEARNERS[name]), buffer()), as_it_is)
    assert counter.frame_count == 2


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler")
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("name", ["sac, KL", "sac, entropy", "td3bc"])
def test_so_does_one_by_the_compiler_of_a_gpu(name, compile_with, monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    as_it_is = learn(learner(LEARNERS[name]), buffer())
    compile_with("inductor")
    assert_close(learn(learner(LEARNERS[name]), buffer()), as_it_is)


@pytest.mark.gpu
@needs_cuda
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("name", LEARNERS)
def test_so_does_one_on_a_gpu(name, monkeypatch) -> None:
    compiled_there = learn(learner(LEARNERS[name], "cuda"), buffer("cuda"), 20)
    for module in (sac, baselines):
        monkeypatch.setattr(module, "compiled", lambda f, _: f)
    assert_close(compiled_there, learn(learner(LEARNERS[name], "cuda"), buffer("cuda"), 20))


def test_the_device_decides(monkeypatch) -> None:
    asked: list[dict[str, Any]] = []
    monkeypatch.setattr(torch, "compile", lambda f, **options: asked.append(options))
    assert compiled(torch.sin, torch.device("cpu")) is torch.sin
    assert asked == []
    compiled(torch.sin, torch.device("cuda:0"))
    assert asked == [{"fullgraph": True, "dynamic": False, "mode": "reduce-overhead"}]


def test_where_compiling_fails_the_function_stays_as_it_is(monkeypatch, caplog) -> None:
    def broken(function: Any, **options: Any) -> Any:
        def call(x: Tensor) -> Tensor:
            calls.append(x)
            raise RuntimeError("no compiler")

        return call

    calls: list[Tensor] = []
    monkeypatch.setattr(torch, "compile", broken)
    sine = compiled(torch.sin, torch.device("cuda"))
    x = torch.ones(2)
    assert torch.equal(sine(x), x.sin())
    assert torch.equal(sine(x), x.sin())
    assert len(calls) == 1
    assert "runs as it is: no compiler" in caplog.text


def test_a_compiled_learner_goes_on_from_the_checkpoint_of_one_that_is_not(compile_with) -> None:
    """The names and values of a checkpoint are the same, and restored weights are what is used."""
    first, mixed = learner({}), buffer()
    state, draws = learn(first, mixed), mixed.generator.get_state()
    as_it_is = learn(first, mixed)
    compile_with("aot_eager")
    resumed, mixed = learner({}), buffer()
    learn(resumed, mixed, 1)
    restore_state(resumed.parts(), state)
    resumed.sums.copy_(state["sums.value"])
    resumed.updates = UPDATES
    mixed.generator.set_state(draws)
    assert_close(learn(resumed, mixed), as_it_is)


def test_a_process_may_compile_a_function_for_many_runs(compile_with) -> None:
    """PyTorch keeps eight variants of a function, and refuses a ninth."""

    def times(factor: float) -> Callable[[Tensor], Tensor]:
        return lambda x: x * factor

    compile_with("eager")
    for i in range(10):
        assert compiled(times(i + 0.5), torch.device("cuda"))(torch.ones(1)).item() == i + 0.5


def test_without_gradient_is_the_same_tensors() -> None:
    critic = TwinCritic(OBS, ACTION, (8,))
    other, rows = without_gradient(critic), buffer().real[:, : OBS + ACTION]
    assert not any(p.requires_grad for p in other.parameters())
    assert all(p.requires_grad for p in critic.parameters())
    critic.standardise(rows)
    critic.load_state_dict({name: 2 * value for name, value in critic.state_dict().items()})
    assert torch.equal(other(rows), critic(rows))
    assert list(other.state_dict()) == list(critic.state_dict())
