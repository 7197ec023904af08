"""The flags of LSTSAUG, as keys at the top level of a file too, and what each one means here."""

from collections.abc import Callable, Mapping

from gormpo_density.config_tree import COMMAND_LINE, ConfigTree
from gormpo_density.flat_keys import FlatKeys

_ALIASES: Mapping[str, str] = {
    "dataset": "data.dataset",
    "data_dir": "data.data_dir",
    "data_path": "data.data_path",
    "model_dir": "export.model_dir",
    "results_dir": "export.results_dir",
    "latent_dim": "model.latent_dim",
    "noise": "augment.noise",
    "num_samples": "augment.num_samples",
    "use_trained": "augment.use_trained",
    "augment_plot": "report.augment_plot",
}

#: Keys that the latent model and the classifiers share.
SHARED_KEYS: Mapping[str, tuple[str, str]] = {
    "num_epochs": ("fit.epochs", "classifier.epochs"),
    "batch_size": ("fit.batch_size", "classifier.batch_size"),
    "learning_rate": ("fit.lr", "classifier.lr"),
}

#: What is true or false, a flag without a value on the command line.
SWITCHES: Mapping[str, str] = {
    "baseline": "train a classifier on the real rows alone",
    "test_augment": "train one on real and synthetic rows",
    "use_trained": "take the latent model that was trained before",
    "augment_plot": "draw originals beside synthetic series",
}


def switch_path(name: str) -> str:
    """Return the path that a switch sets."""
    return _ALIASES.get(name, name)


def _shared(key: str) -> Callable[[ConfigTree], None]:
    """Return a translation to both sections; what a section says itself comes first."""

    def translate(tree: ConfigTree) -> None:
        origin, value = tree.origin(key), tree.values.pop(key)
        for path in SHARED_KEYS[key]:
            if tree.get(path) is None or origin == COMMAND_LINE != tree.origin(path):
                tree.set(path, value, f"{origin} ({key})")

    return translate


def _set_epochs(tree: ConfigTree) -> None:
    """Translate num_epochs; on the command line it also comes before a file's steps."""
    steps = "classifier.steps"
    if tree.origin("num_epochs") == COMMAND_LINE != tree.origin(steps) and tree.get(steps):
        tree.set(steps, None, COMMAND_LINE)
    _shared("num_epochs")(tree)


def _add_baseline(tree: ConfigTree) -> None:
    if _is_wanted(tree, "baseline"):
        _put_arm(tree, "baseline", is_first=True)


def _add_augmented(tree: ConfigTree) -> None:
    if _is_wanted(tree, "test_augment"):
        method = tree.get("augment.method")
        _put_arm(tree, method if isinstance(method, str) else "noise")


def _put_arm(tree: ConfigTree, name: str, *, is_first: bool = False) -> None:
    """Add an arm to those that are named, where it is not among them."""
    arms = tree.get("arms") or {}
    if isinstance(arms, list) and all(isinstance(arm, str) for arm in arms):
        arms = {arm: {} for arm in arms}
    if not isinstance(arms, dict) or name in arms:
        return  # the schema reports what are no arms
    tree.set("arms", {name: {}, **arms} if is_first else {**arms, name: {}}, tree.origin("arms"))


def _is_wanted(tree: ConfigTree, key: str) -> bool:
    origin, value = tree.origin(key), tree.values.pop(key)
    if not isinstance(value, bool):
        tree.problems.append(f"{origin}: {key} must be true or false, is {value!r}")
    return value is True


AUGMENT_KEYS = FlatKeys(
    _ALIASES,
    {},
    {
        **{key: _shared(key) for key in SHARED_KEYS},
        "num_epochs": _set_epochs,
        "baseline": _add_baseline,
        "test_augment": _add_augmented,
    },
)
