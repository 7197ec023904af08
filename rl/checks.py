"""What is found out about a MOPO run before anything is trained."""

from gormpo_density.errors import ConfigError, GormpoDensityError
from rl.config import MOPOConfig
from rl.density_parts import check_density, check_paths
from rl.offline_data import OfflineData
from rl.parts import Parts
from rl.termination import termination_rule


def check_before_training(
    config: MOPOConfig, data: OfflineData, env_id: str, parts: Parts
) -> None:
    """Find at once what would otherwise come to light after minutes of training.

    Args:
        config: Of the run.
        data: Its data.
        env_id: Its environment.
        parts: The named ones are read, none is trained.

    Raises:
        ConfigError: Parts, rules or numbers do not fit the data.
        DataError: No episode is long enough for a model of paths.
    """
    members = config.dynamics.members if config.dynamics.run is None else parts.dynamics().members
    if config.penalty.name == "disagreement" and members < 2:
        raise ConfigError("penalty 'disagreement' needs two members of the ensemble, there is one")
    if config.penalty.needs_density:
        if parts.named_density is None:
            data.rows(config.data.rows, "cal")
        check_density(
            config, data, *(parts.named_density or (parts.new_density(), config.data.rows))
        )
        check_paths(config, data)
    if config.rollout.termination != "learned":
        _check_rule(config.rollout.termination, data, env_id)
    if config.rollout.starts > len(data.splits["train"]):
        raise ConfigError(
            f"rollout.starts is {config.rollout.starts}, but there are only "
            f"{len(data.splits['train'])} training rows to start from"
        )


def _check_rule(name: str, data: OfflineData, env_id: str) -> None:
    """Ask a termination rule about two rows of the data."""
    rule = termination_rule(name, env_id)
    try:
        rule(data.obs[:2], data.action[:2], data.next_obs[:2])
    except GormpoDensityError:  # says what is wrong by itself
        raise
    except (TypeError, ValueError, IndexError, RuntimeError) as error:
        first_line = next(iter(str(error).splitlines()), type(error).__name__)
        raise ConfigError(
            f"termination rule {name!r} fails on rows of {data.info.name}: {first_line}"
        ) from error
