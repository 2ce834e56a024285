"""The types of a study file: what may be written."""

from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Discriminator,
    Field,
    PrivateAttr,
    Tag,
)

from sweeps.study.designs import Design, OneAtATime
from sweeps.study.document import Document, Mark
from sweeps.study.fields import (
    MAX_SEEDS,
    MAX_TRIALS,
    ArmName,
    Block,
    Change,
    Family,
    Name,
    Objectives,
    Seed,
    SeedRule,
    Seeds,
    Space,
    Text,
    Value,
    With,
    as_data,
    as_design,
    distinct,
    words_or_map,
)
from trainables.data import Data
from trainables.metrics import Extractors
from trainables.scaling import Scaling
from trainables.trial_spec import Precision


class Hypothesis(Block):
    """What the author expects of an arm, so that the table can say whether it is so."""

    claim: Annotated[Text, Field(description="in words")]
    metric: Family | None = Field(None, description="by which it shows; the study's first by default")
    expect: Literal["worse", "better", "lower", "higher", "different", "equivalent"] = Field(
        description="where the arm will be, seen from the control; equivalent asks for a margin"
    )


class Ablation(Block):
    """One question about one part: take it away, put another in, or move one of its values."""

    part: Annotated[Text, Field(description="a slot, or for VALUES a value inside one, such as attention.mu")]
    action: Annotated[
        Literal["REMOVE", "REPLACE", "VALUES", "ADD"], Field(description="REMOVE, REPLACE, VALUES or ADD")
    ]
    with_: With | None = Field(
        None, alias="with", description="REPLACE and ADD: a list of kinds, or a map from an arm's name to an edit"
    )
    values: Annotated[tuple[Value, ...], Field(min_length=1), AfterValidator(distinct)] | None = Field(
        None, description="VALUES: the numbers or words to try"
    )
    hypothesis: Annotated[
        Annotated[str, Tag("words")] | Annotated[Hypothesis, Tag("a map")],
        Discriminator(
            words_or_map, custom_error_type="hypothesis", custom_error_message="words, or {claim, metric, expect}"
        ),
        Field(description="what the author expects to see; words alone are read as worse, where a part is replaced"),
    ] = ""


class Todo(Block):
    """What an imported plan asks and nobody has settled yet; a study with such an entry does not run."""

    asked: Annotated[Text, Field(description="what the plan says")]
    reason: Annotated[str, Field(description="why it is open")] = ""
    candidates: Annotated[dict[str, float], Field(description="the nearest there are, and how near they are")] = {}


class Asha(Block):
    """Early stopping by successive halving (ASHA): of the trials that reach a rung, the best go on."""

    kind: Literal["asha"] = "asha"
    grace: Annotated[int, Field(ge=1)] = Field(1, description="reports before a trial may be stopped")
    factor: Annotated[int, Field(ge=2)] = Field(3, description="one in so many goes on")


class Median(Block):
    """Early stopping of trials that are worse than the median of the others at the same report."""

    kind: Literal["median"] = "median"
    grace: Annotated[int, Field(ge=1)] = Field(1, description="reports before a trial may be stopped")


TrialScheduler = Asha | Median


class Confirm(Block):
    """The search's winners once more, on seeds that neither study nor search saw: only these runs count."""

    top: Annotated[int, Field(ge=1)] = Field(1, description="winners of each arm")
    fresh_seeds: Annotated[int, Field(ge=1, le=MAX_SEEDS)] = Field(8, description="seeds for each winner")


class Search(Block):
    """Tuning inside every arm, with equal effort."""

    space: Annotated[Space, Field(description="a map from a dotted path to its domain, or a named space")]
    search_sampler: Literal["tpe", "nsga2", "random"] = Field(
        "tpe", description="Optuna's proposer: tpe (for several objectives too), nsga2 or random"
    )
    trials_per_arm: Annotated[int, Field(ge=1, le=MAX_TRIALS)] = Field(16, description="trials inside every arm")
    objectives: Objectives | None = Field(
        None, description="metrics with their directions, or a list of them; the study's first metric by default"
    )
    points: tuple[Annotated[dict[Text, Value], Field(min_length=1)], ...] = Field(
        (), description="tried first; what a point leaves out is drawn"
    )
    seed: Seed | None = Field(None, description="all trials sample at it; the study's first seed by default")
    trial_scheduler: Annotated[TrialScheduler, Field(discriminator="kind")] | None = Field(
        None, description="stops trials that fall behind"
    )
    confirm: Confirm | None = Field(None, description="re-runs winners on fresh seeds")


class Resources(Scaling):
    """What one cell is given, and how many run at a time."""

    max_concurrent: Annotated[int, Field(ge=1)] | None = Field(
        None, description="cells at a time; as many as fit by default"
    )
    precision: Precision = Field("auto", description="auto: fp32 on CPU, bf16 on GPU")

    @property
    def scaling(self) -> Scaling:
        """The worker group of one cell."""
        return Scaling.model_validate(self.model_dump(include=set(Scaling.model_fields)))


GROUP = ("workers", "zero", "micro_batch_size", "gradient_checkpointing", "cache", "report_every", "checkpoint_every")
"""Keys of ``resources`` that only a training reads."""


class Budget(Block):
    """What the study may cost in all, restarts included; it ends at a balanced point before it would cost more."""

    gpu_hours: Annotated[float, Field(gt=0)] | None = Field(None, description="of all GPUs together")
    wall_clock: Annotated[float, Field(gt=0)] | None = Field(None, description="hours that the study runs")
    money: Annotated[float, Field(gt=0)] | None = Field(None, description="at price_per_gpu_hour")
    price_per_gpu_hour: Annotated[float, Field(gt=0)] | None = Field(None, description="in the currency of money")


class Tracking(Block):
    """Where MLflow records the runs."""

    uri: Text | None = Field(None, description="MLflow's address; else MLFLOW_TRACKING_URI, else a file in the storage")


class Study(Block):
    """One question about one system: a study file, checked."""

    name: Name
    question: Annotated[str, Field(description="what this study is to find out, in one sentence")] = ""
    system: Annotated[Text, Field(description="a system, such as zs2")]
    base: Annotated[Text, Field(description="an embedded base, a folder, or a hub id (org/name@revision)")]
    data: Annotated[Data, BeforeValidator(as_data)] | None = Field(None, description="a layout's word, or its map")
    metrics: Annotated[tuple[Text, ...], Field(min_length=1, description="families; the first is the objective")]
    extractors: Extractors = Extractors()
    seeds: Annotated[Seeds, Field(description="how many, a list, or a rule; every arm sees the same ones")]
    protocol: Annotated[dict[str, Any], Field(description="how a cell samples; the base's card has the defaults")] = {}
    training: Annotated[
        dict[str, Change], Field(description="how the system is trained, such as steps, global_batch_size, lr")
    ] = {}
    control: Annotated[dict[str, Change], Field(description="dotted path -> value: where the control starts from")] = {}
    ablations: tuple[Ablation, ...] = ()
    arms: Annotated[
        dict[ArmName, Annotated[dict[str, Change], Field(min_length=1)]],
        Field(description="an arm's name -> any combination of changes"),
    ] = {}
    todo: tuple[Todo, ...] = ()
    search: Search | None = None
    margins: Annotated[
        dict[Family, Annotated[float, Field(gt=0)]],
        Field(description="a metric -> the smallest difference that matters, in its own units"),
    ] = {}
    design: Annotated[Annotated[Design, Field(discriminator="kind")], BeforeValidator(as_design)] = OneAtATime()
    resources: Resources = Resources()
    budget: Budget | None = None
    tracking: Tracking = Tracking()

    _document: Document = PrivateAttr(default=Document("study", {}, {(): Mark(1, "")}))

    @property
    def all_seeds(self) -> tuple[int, ...]:
        """Every seed that the study may come to, in the order in which they are taken."""
        return tuple(range(self.seeds.max)) if isinstance(self.seeds, SeedRule) else self.seeds

    @property
    def document(self) -> Document:
        """The file this study was read from, to locate what turns out wrong later."""
        return self._document

    def to_yaml(self) -> str:
        """This study as a file that reads back as the same study, a profile laid over it included."""
        import yaml

        values = self.model_dump(mode="json", by_alias=True, exclude_unset=True)
        return str(yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=120))
