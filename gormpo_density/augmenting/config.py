"""The configuration of an augmentation run.

    task, seed, device, data, model, fit, calibration, augment, classifier, arms, evaluation,
    report, export

`model` is the latent model; the keys of `model` and `fit` are its own, as in a density run.
Defaults are those of LSTSAUG's flags.
"""

import functools
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Ge
from pydantic import (
    AfterValidator,
    ConfigDict,
    Field,
    PositiveInt,
    create_model,
    field_validator,
    model_validator,
)

from gormpo_density.augmentation.latent import LatentMethod, residual_problem
from gormpo_density.augmenting.arms import check_arm, known_classifier
from gormpo_density.augmenting.keys import AUGMENT_KEYS
from gormpo_density.base import LatentModel, NonNegative, Positive
from gormpo_density.config import (
    ConfigTree,
    RunConfig,
    Section,
    Seed,
    SourceConfig,
    UserPath,
    resolve_config,
)
from gormpo_density.errors import ConfigError
from gormpo_density.registry import model_class
from gormpo_density.timeseries.labelled_sets import labelled_options

_DEFAULT_MODEL = "vae"
_DEFAULTS: dict[str, Any] = {"fit.epochs": 400, "fit.batch_size": 64, "fit.lr": 1e-3}
_VAE_DEFAULTS: dict[str, Any] = {"model.latent_dim": 64}
_DEFAULT_DATASET = "Symbols"


class AugmentDataConfig(SourceConfig):
    """A labelled set; see `load_labelled`. Options of a simulated set are keys here too.

    Attributes:
        scale: "series" gives every series mean 0 and standard deviation 1, channel by channel;
            "train" takes both from all training rows; "none" leaves the values alone.
    """

    scale: Literal["series", "train", "none"] = "series"

    @property
    def options(self) -> dict[str, Any]:
        """The options of the data set, as plain values."""
        return self.model_dump(mode="json", exclude=set(AugmentDataConfig.model_fields))


class AugmentSection(Section):
    """How synthetic rows are made, unless an arm says otherwise.

    Attributes:
        method: What --test_augment and --export use; see `LatentAugmenter`.
        noise: Strength of that method; 0 is reconstruction. Other latent methods have their own.
        num_samples: Synthetic rows for each real row.
        accept: Reject synthetic rows whose p-value among real ones is below `calibration.alpha`,
            or that another class claims; see `Acceptance`.
        residual: Keep what the latent model does not reconstruct of a row; not for class_gaussian.
        use_trained: Take the latent model of a run that trained it, in place of training one.
    """

    method: LatentMethod = "noise"
    noise: NonNegative = 0.1
    num_samples: PositiveInt = 1
    accept: bool = False
    residual: bool = False
    use_trained: bool = False

    @model_validator(mode="after")
    def _check(self) -> "AugmentSection":
        if problem := residual_problem(self.method, self.residual):
            raise ValueError(problem)
        return self


class ClassifierSection(Section):
    """The classifier that every arm trains.

    Attributes:
        name: "resnet", "fcn", "minirocket" or "nearest"; only the first two take steps.
        epochs: Passes over the real rows. Every arm takes the same number of steps,
            epochs * ceil(n / batch_size), however many synthetic rows it has.
        steps: That number, in place of epochs.
        batch_size: Rows in a step.
        lr: Peak learning rate.
        weight_decay: Of Adam.
        precision: "bfloat16" is faster on many a CPU, and less exact.
    """

    name: Annotated[str, AfterValidator(known_classifier)] = "resnet"
    epochs: PositiveInt = 400
    steps: PositiveInt | None = None
    batch_size: Annotated[int, Ge(2)] = 64
    lr: Positive = 1e-3
    weight_decay: NonNegative = 0.0
    precision: Literal["float32", "bfloat16"] = "float32"


class ArmConfig(Section):
    """A way to make the training set; further keys are parameters of its augmenter.

    Attributes:
        method: Name of the augmenter, or "baseline"; None is the arm's own name.
    """

    model_config = ConfigDict(extra="allow")

    method: str | None = None

    @property
    def params(self) -> dict[str, Any]:
        """Parameters of the augmenter."""
        return dict(self.model_extra or {})


class EvaluationConfig(Section):
    """How arms are measured.

    Attributes:
        folds: Also measure every arm by so many folds of the training rows; by these, arms and
            strengths can be chosen without the test rows. None for not.
    """

    folds: Annotated[int, Ge(2)] | None = None


class AugmentReportConfig(Section):
    """What is drawn.

    Attributes:
        augment_plot: Draw originals beside synthetic series even where no arm makes any.
    """

    augment_plot: bool = False


class AugmentExportConfig(Section):
    """Copies of what a run leaves, each in a folder called as the run is.

    Attributes:
        model_dir: Gets the latent model, and is where `augment.use_trained` looks for one.
        results_dir: Gets the report, the plots and the tables.
    """

    model_dir: UserPath | None = None
    results_dir: UserPath | None = None


class AugmentConfig(RunConfig):
    """Everything that decides an augmentation run.

    Attributes:
        data: The labelled set.
        augment: How synthetic rows are made.
        classifier: What is trained on them.
        arms: Ways to make the training set, by name; none trains the latent model alone. A list
            of names will do where nothing is set about them.
        evaluation: How they are measured.
        report: What is drawn.
        export: Copies in other places.
    """

    seed: Seed = 42
    data: AugmentDataConfig = AugmentDataConfig()
    augment: AugmentSection = AugmentSection()
    classifier: ClassifierSection = ClassifierSection()
    arms: dict[str, ArmConfig] = Field(default_factory=dict)
    evaluation: EvaluationConfig = EvaluationConfig()
    report: AugmentReportConfig = AugmentReportConfig()
    export: AugmentExportConfig = AugmentExportConfig()

    @field_validator("arms", mode="before")
    @classmethod
    def _name_arms(cls, arms: Any) -> Any:
        if isinstance(arms, list) and all(isinstance(name, str) for name in arms):
            return {name: {} for name in arms}
        return {k: v or {} for k, v in arms.items()} if isinstance(arms, dict) else arms

    @model_validator(mode="after")
    def _check_arms(self) -> "AugmentConfig":
        for name, arm in self.arms.items():
            check_arm(name, arm.method or name, arm.params)
        return self


def load_augment_config(
    name: str | Path | None, overrides: Iterable[str] = (), *, model: str | None = None
) -> AugmentConfig:
    """Read, override and check a configuration; see `gormpo_density.config.load_config`."""
    return resolve_config(
        ConfigTree.read(name),
        overrides,
        model,
        AugmentConfig,
        AUGMENT_KEYS,
        default_model=_DEFAULT_MODEL,
        find_class=_find_class,
        refine=_schema_of,
    )


def _find_class(name: str) -> type:
    """Return the class of a latent model.

    Raises:
        ConfigError: There is none of that name.
    """
    cls = model_class(name)
    if not issubclass(cls, LatentModel):
        raise ConfigError(f"model {name!r} has no latent space to augment in; vae has")
    return cls


def _schema_of(tree: ConfigTree) -> type[AugmentConfig]:
    """Fill in LSTSAUG's defaults, and return a schema with the options of the data set."""
    is_vae = tree.get("model.name") == "vae"
    for path, value in {**_DEFAULTS, **(_VAE_DEFAULTS if is_vae else {})}.items():
        if tree.get(path) is None:
            tree.set(path, value, "default")
    epochs = tree.get("fit.epochs")
    if tree.get("fit.patience") is None and isinstance(epochs, int) and epochs > 0:
        tree.set("fit.patience", epochs, "default")  # all are made, and the best one is kept
    if not (tree.get("data.data_path") or tree.get("data.dataset")):
        tree.set("data.dataset", _DEFAULT_DATASET, "default")
    name = tree.get("data.dataset")
    return augment_schema(labelled_options(name if isinstance(name, str) else None))


@functools.cache
def augment_schema(options: type[Section]) -> type[AugmentConfig]:
    """Return a schema whose data section has the options of a data set too."""
    data: Any = create_model("AugmentDataConfig", __base__=(options, AugmentDataConfig))
    return create_model("AugmentConfig", __base__=AugmentConfig, data=(data, data()))
