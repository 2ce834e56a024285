"""Types of the study file."""

from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Discriminator,
    Field,
    PrivateAttr,
    Tag,
)

from models.bases import Precision
from sweeps.statistics.families import Correction, CorrectOver, Method
from sweeps.study.designs import Design, OneAtATime
from sweeps.study.document import Document, Mark
from sweeps.study.fields import (
    MAX_REPEATS,
    MAX_SEEDS,
    MAX_TRIALS,
    ArmName,
    Block,
    Change,
    Diverged,
    MetricName,
    Name,
    Objectives,
    Scalar,
    Seed,
    SeedRule,
    Seeds,
    Space,
    Text,
    Unit,
    With,
    as_data,
    as_design,
    as_grouping,
    distinct,
    words_or_map,
)
from trainables.data import Data
from trainables.grouping import Grouping
from trainables.metrics import Extractors
from trainables.scaling import Scaling


class Hypothesis(Block):
    """Expected effect of an arm; the report states whether it holds."""

    claim: Annotated[Text, Field(description="the hypothesis in words")]
    metric: MetricName | None = Field(None, description="metric that tests it; the study's first by default")
    expect: Literal["worse", "better", "lower", "higher", "different", "equivalent"] = Field(
        description="expected result of the arm relative to the control; equivalent needs a margin"
    )


class Ablation(Block):
    """An ablation of one part: remove it, replace it, add it, or change one of its values."""

    part: Annotated[Text, Field(description="a slot, or for VALUES a value inside one, such as attention.mu")]
    action: Annotated[
        Literal["REMOVE", "REPLACE", "VALUES", "ADD"], Field(description="REMOVE, REPLACE, VALUES or ADD")
    ]
    with_: With | None = Field(
        None, alias="with", description="REPLACE and ADD: a list of kinds, or a map from an arm's name to an edit"
    )
    values: Annotated[tuple[Scalar, ...], Field(min_length=1), AfterValidator(distinct)] | None = Field(
        None, description="VALUES: the values to try"
    )
    hypothesis: Annotated[
        Annotated[str, Tag("words")] | Annotated[Hypothesis, Tag("a map")],
        Discriminator(
            words_or_map, custom_error_type="hypothesis", custom_error_message="a string, or {claim, metric, expect}"
        ),
        Field(description="expected result; a string means worse for REMOVE and REPLACE, else different"),
    ] = ""


class UnitRule(Block):
    """Unit of the comparisons, in place of the one that follows from what the study draws."""

    kind: Annotated[Unit, Field(description="seed, clip or prompt")]
    reason: Annotated[Text, Field(description="why; the report states it")]


class Todo(Block):
    """An open decision of an imported plan; a study with such entries does not run."""

    asked: Annotated[Text, Field(description="text of the plan")]
    reason: Annotated[str, Field(description="why it is open")] = ""
    candidates: Annotated[dict[str, float], Field(description="nearest candidates with their similarity")] = {}


class Asha(Block):
    """Early stopping by successive halving (ASHA): the best trials of each rung continue."""

    kind: Literal["asha"] = "asha"
    grace: Annotated[int, Field(ge=1)] = Field(1, description="reports before a trial may be stopped")
    factor: Annotated[int, Field(ge=2)] = Field(3, description="one of this many trials continues")


class Median(Block):
    """Early stopping of trials that are worse than the median of the others at the same report."""

    kind: Literal["median"] = "median"
    grace: Annotated[int, Field(ge=1)] = Field(1, description="reports before a trial may be stopped")


TrialScheduler = Asha | Median


class Confirm(Block):
    """Confirmation of the search's winners on seeds that study and search did not use; only these runs are compared."""

    top: Annotated[int, Field(ge=1)] = Field(1, description="winners of each arm")
    fresh_seeds: Annotated[int, Field(ge=1, le=MAX_SEEDS)] = Field(8, description="new seeds for each winner")
    # Left out if not set: plans of studies without it are those of versions without it.
    path: Annotated[bool, Field(exclude_if=lambda value: not value)] = Field(
        False, description="also each step from an arm's best settings to the control's, one value at a time"
    )


class Search(Block):
    """Tuning inside every arm, with equal effort."""

    space: Annotated[Space, Field(description="a map from a dotted path to its domain, or the name of a space")]
    search_sampler: Literal["tpe", "nsga2", "random"] = Field(
        "tpe", description="Optuna sampler: tpe (also for several objectives), nsga2 or random"
    )
    trials_per_arm: Annotated[int, Field(ge=1, le=MAX_TRIALS)] = Field(
        16, description="trials of one search of the arm with the most searched values; of others in proportion"
    )
    repeats: Annotated[int, Field(ge=1, le=MAX_REPEATS)] | None = Field(
        None,
        description="independent searches of every arm, the units of the comparison of tuned arms; by default 3 where "
        "confirm compares arms, else 1",
    )
    objectives: Objectives | None = Field(
        None, description="metrics with their directions, or a list of them; the study's first metric by default"
    )
    points: tuple[Annotated[dict[Text, Scalar], Field(min_length=1)], ...] = Field(
        (), description="settings to try first; missing values are drawn"
    )
    seed: Seed | None = Field(None, description="seed of all trials; the study's first seed by default")
    trial_scheduler: Annotated[TrialScheduler, Field(discriminator="kind")] | None = Field(
        None, description="early stopping of trials"
    )
    confirm: Confirm | None = Field(None, description="re-runs winners on fresh seeds")


class Resources(Scaling):
    """Resources of one cell, and the number of cells that run in parallel."""

    max_concurrent: Annotated[int, Field(ge=1)] | None = Field(
        None, description="cells in parallel; as many as fit by default"
    )
    precision: Precision = Field("auto", description="auto: fp32 on CPU, bf16 on GPU")

    @property
    def scaling(self) -> Scaling:
        """The worker group of one cell."""
        return Scaling.model_validate(self.model_dump(include=set(Scaling.model_fields)))


GROUP = ("workers", "zero", "micro_batch_size", "gradient_checkpointing", "cache", "report_every", "checkpoint_every")
"""Keys of ``resources`` that apply to trained systems only."""


class Budget(Block):
    """Total cost limit of the study, restarts included; it stops at a balanced point before it exceeds the limit."""

    gpu_hours: Annotated[float, Field(gt=0)] | None = Field(None, description="GPU-hours of all GPUs together")
    wall_clock: Annotated[float, Field(gt=0)] | None = Field(None, description="hours of running time")
    money: Annotated[float, Field(gt=0)] | None = Field(None, description="cost at price_per_gpu_hour")
    price_per_gpu_hour: Annotated[float, Field(gt=0)] | None = Field(
        None, description="price, in the currency of money"
    )


class Tracking(Block):
    """Where MLflow records the runs."""

    uri: Text | None = Field(
        None, description="MLflow's address; default: MLFLOW_TRACKING_URI, else a file in the storage folder"
    )


class Study(Block):
    """A valid study file: one question about one system, or about arms of several."""

    name: Name
    question: Annotated[str, Field(description="research question, in one sentence")] = ""
    system: Annotated[Text, Field(description="name of a system, such as zs2")]
    base: Annotated[Text, Field(description="an embedded base, a folder, or a hub id (org/name@revision)")]
    text_encoder: Annotated[
        str, Field(description="CLIP text encoder for a base without one: an embedded base, a folder, or a hub id")
    ] = ""
    data: Annotated[Data, BeforeValidator(as_data)] | None = Field(None, description="a layout, by name or as a map")
    metrics: Annotated[tuple[Text, ...], Field(min_length=1, description="metric families; the first is the objective")]
    extractors: Extractors = Extractors()
    seeds: Annotated[Seeds, Field(description="number of seeds, a list, or a rule; every arm uses the same seeds")]
    protocol: Annotated[dict[str, Any], Field(description="sampling protocol; the base's card has the defaults")] = {}
    training: Annotated[
        dict[str, Change], Field(description="training settings, such as steps, global_batch_size, lr")
    ] = {}
    control: Annotated[
        dict[str, Change], Field(description="dotted path -> value of the control; the system's defaults otherwise")
    ] = {}
    ablations: tuple[Ablation, ...] = ()
    arms: Annotated[
        dict[ArmName, Annotated[dict[str, Change], Field(min_length=1)]],
        Field(
            description="arm name -> any combination of changes, and system, base, text_encoder, protocol of its own"
        ),
    ] = {}
    by: Annotated[Grouping, BeforeValidator(as_grouping)] | None = Field(
        None, description="groups of clips by which metrics are reported as well: a column, such as category, or a map"
    )
    todo: tuple[Todo, ...] = ()
    search: Search | None = None
    margins: Annotated[
        dict[MetricName, Annotated[float, Field(gt=0)]],
        Field(description="metric -> smallest relevant difference, in the metric's units"),
    ] = {}
    unit: UnitRule | None = Field(
        None, description="unit of the comparisons, with the reason; by default it follows from what is drawn"
    )
    test: Annotated[
        Method,
        Field(description="sign_flip assumes that differences are symmetric without an effect; bootstrap_t less so"),
    ] = "sign_flip"
    correction: Annotated[
        Correction, Field(description="max_t: step-down max-T with joint sign flips; holm: Holm's correction")
    ] = "max_t"
    correct_over: Annotated[
        CorrectOver, Field(description="arms: each metric by itself; arms_and_metrics: all comparisons of the study")
    ] = "arms"
    diverged: Annotated[
        Diverged,
        Field(
            description="compared: rates of divergence are compared, values among surviving seeds; worst: ranked last"
        ),
    ] = "compared"
    design: Annotated[Annotated[Design, Field(discriminator="kind")], BeforeValidator(as_design)] = OneAtATime()
    resources: Resources = Resources()
    budget: Budget | None = None
    tracking: Tracking = Tracking()

    _document: Document = PrivateAttr(default=Document("study", {}, {(): Mark(1, "")}))

    @property
    def all_seeds(self) -> tuple[int, ...]:
        """All seeds that the study may use, in order."""
        return tuple(range(self.seeds.max)) if isinstance(self.seeds, SeedRule) else self.seeds

    @property
    def document(self) -> Document:
        """The file this study was read from, to locate problems that are detected later."""
        return self._document

    def to_yaml(self) -> str:
        """Write this study, with its profile applied, as YAML that reads back as the same study."""
        import yaml

        values = self.model_dump(mode="json", by_alias=True, exclude_unset=True)
        return str(yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=120))
