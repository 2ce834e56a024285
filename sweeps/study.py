"""The types of a study file: what may be written, and the JSON schema that editors check it with."""

import re
import typing
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    PlainSerializer,
    PlainValidator,
    PrivateAttr,
    Tag,
    WithJsonSchema,
)

from models import SYSTEMS
from models.bases import Protocol
from models.training import AdamW
from search_spaces import SPACES, Domain, domain
from search_spaces.domains import DOMAINS
from sweeps.designs import Design, OneAtATime
from sweeps.document import Document, Mark
from trainables.data import Data
from trainables.metrics import FAMILIES, Extractors
from trainables.scaling import Scaling
from trainables.trial_spec import Precision

MAX_SEEDS = 1000
MAX_SEED = 2**31 - 1
MAX_TRIALS = 10_000

RESERVED = ("cache", "mlartifacts", "mlflow.db", "references")
"""What lies beside the studies in a storage folder."""


def _word_or_map(value: object) -> object:
    if not isinstance(value, str | dict):
        raise ValueError("a kind (a word), or a map of values")
    return value


def _value(value: object) -> object:
    if not isinstance(value, bool | int | float | str):
        raise ValueError("a number or a word")
    return value


def _seeds(value: object) -> object:
    if isinstance(value, int) and not isinstance(value, bool):
        if not 1 <= value <= MAX_SEEDS:
            raise ValueError(f"a number of seeds from 1 to {MAX_SEEDS}")
        return tuple(range(value))
    if not isinstance(value, list) or not value:
        raise ValueError("a number of seeds, such as 16, a list of seeds, or {min: 4, max: 16, stop: decided}")
    for seed in value:
        if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed <= MAX_SEED:
            raise ValueError(f"whole numbers from 0 to {MAX_SEED}")
    return tuple(value)


def _words_or_map(value: object) -> str | None:
    if isinstance(value, str):
        return "words"
    return "a map" if isinstance(value, dict | BaseModel) else None


def _seeds_or_rule(value: object) -> str:
    return "a rule" if isinstance(value, dict | SeedRule) else "seeds"


def _distinct(values: tuple[Any, ...]) -> tuple[Any, ...]:
    for position, value in enumerate(values):
        if value in values[:position]:
            raise ValueError(f"each entry once; {value} is there twice")
    return values


def _arm_name(name: str) -> str:
    if not re.fullmatch(r"\w[\w .,=+-]{0,99}", name):
        raise ValueError("an arm's name: up to 100 letters, digits, spaces and . , _ = + -")
    if name == "control":
        raise ValueError("another name: control is the arm without changes")
    return name


def _name(name: str) -> str:
    if name in RESERVED:
        raise ValueError("another name: the storage folder has a folder or file of this name")
    return name


def _design(value: object) -> object:
    return {"kind": value} if isinstance(value, str) else value


def _data(value: object) -> object:
    return {"layout": value} if isinstance(value, str) else value


def _with(value: object) -> str | None:
    if isinstance(value, list | tuple):
        return "a list of kinds"
    return "a map of arms" if isinstance(value, dict) else None  # None: the discriminator's own message


def _objectives(value: object) -> str | None:
    if isinstance(value, list | tuple):
        return "a list of metrics"
    return "a map of directions" if isinstance(value, dict) else None


def _space(value: object) -> str | None:
    if isinstance(value, str):
        return "a named space"
    return "a map of domains" if isinstance(value, dict) else None


Edit = Annotated[
    str | dict[str, Any],
    BeforeValidator(_word_or_map),
    WithJsonSchema({"type": ["string", "object"], "description": "a kind, or values of the part"}),
]
"""What may be put at a slot's path: a kind's word, or a map of values (with ``kind``: of another part)."""

Change = Annotated[Any, WithJsonSchema({"type": ["string", "number", "boolean", "object"]})]
"""What may be put at any path: an edit of a part, or a value."""

Text = Annotated[str, Field(min_length=1)]
Name = Annotated[
    str,
    Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,99}$", description="it names a folder: a-z 0-9 . _ -"),
    AfterValidator(_name),
]
ArmName = Annotated[str, AfterValidator(_arm_name)]
Value = Annotated[
    bool | int | float | str, BeforeValidator(_value), WithJsonSchema({"type": ["number", "string", "boolean"]})
]
With = Annotated[
    Annotated[tuple[Text, ...], Field(min_length=1), AfterValidator(_distinct), Tag("a list of kinds")]
    | Annotated[dict[ArmName, Edit], Field(min_length=1), Tag("a map of arms")],
    Discriminator(_with, custom_error_type="with", custom_error_message="a list of kinds, or a map of arms"),
]
Family = Annotated[Text, WithJsonSchema({"type": "string", "enum": list(FAMILIES)})]
SearchedDomain = Annotated[
    Domain,
    PlainValidator(domain),
    PlainSerializer(lambda searched: searched.written()),
    WithJsonSchema(
        {
            "type": "object",
            "properties": {
                word: {"type": "array", "minItems": 2, "description": kind.arguments} for word, kind in DOMAINS.items()
            },
            "additionalProperties": False,
            "minProperties": 1,
            "maxProperties": 1,
        }
    ),
]
Space = Annotated[
    Annotated[str, WithJsonSchema({"type": "string", "enum": list(SPACES)}), Tag("a named space")]
    | Annotated[dict[Text, SearchedDomain], Field(min_length=1), Tag("a map of domains")],
    Discriminator(
        _space, custom_error_type="space", custom_error_message="a named space, or a map from a path to its domain"
    ),
]
Objectives = Annotated[
    Annotated[tuple[Family, ...], Field(min_length=1), AfterValidator(_distinct), Tag("a list of metrics")]
    | Annotated[dict[Family, Literal["max", "min"]], Field(min_length=1), Tag("a map of directions")],
    Discriminator(
        _objectives,
        custom_error_type="objectives",
        custom_error_message="a list of metrics, or a map from a metric to max or min",
    ),
]
Seed = Annotated[int, Field(ge=0, le=MAX_SEED)]


class Block(BaseModel):
    """A map of the study file: frozen, and closed to unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False, populate_by_name=False)


class SeedRule(Block):
    """As many seeds as it takes: all arms are looked at on the way, and the study ends where every one is decided."""

    min: Annotated[int, Field(ge=2, le=MAX_SEEDS)] = Field(4, description="seeds at least")
    max: Annotated[int, Field(ge=2, le=MAX_SEEDS, description="seeds at most")]
    stop: Annotated[
        Literal["decided"], Field(description="decided: where each arm differs, or is equivalent within its margin")
    ]


_ListedSeeds = Annotated[
    tuple[int, ...],
    BeforeValidator(_seeds),
    AfterValidator(_distinct),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": 1, "maximum": MAX_SEEDS},
                {
                    "type": "array",
                    "items": {"type": "integer", "minimum": 0, "maximum": MAX_SEED},
                    "minItems": 1,
                    "uniqueItems": True,
                },
            ]
        }
    ),
]
Seeds = Annotated[
    Annotated[_ListedSeeds, Tag("seeds")] | Annotated[SeedRule, Tag("a rule")], Discriminator(_seeds_or_rule)
]


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
    values: Annotated[tuple[Value, ...], Field(min_length=1), AfterValidator(_distinct)] | None = Field(
        None, description="VALUES: the numbers or words to try"
    )
    hypothesis: Annotated[
        Annotated[str, Tag("words")] | Annotated[Hypothesis, Tag("a map")],
        Discriminator(
            _words_or_map, custom_error_type="hypothesis", custom_error_message="words, or {claim, metric, expect}"
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
    data: Annotated[Data, BeforeValidator(_data)] | None = Field(None, description="a layout's word, or its map")
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
    design: Annotated[Annotated[Design, Field(discriminator="kind")], BeforeValidator(_design)] = OneAtATime()
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


def schema() -> dict[str, Any]:
    """The JSON schema of a study file, for editors: what these types say, and what comes from other files."""
    whole = Study.model_json_schema(by_alias=True)
    properties = whole["properties"]
    properties["data"]["anyOf"].insert(0, {"type": "string", "description": "a layout with its defaults"})
    designs = [design.model_fields["kind"].default for design in typing.get_args(Design)]
    properties["design"] = {"anyOf": [{"enum": designs}, properties["design"]]}
    properties["metrics"]["items"] = {"enum": list(FAMILIES)}
    properties["system"]["enum"] = list(SYSTEMS)
    protocol, training = Protocol.model_json_schema(), AdamW.model_json_schema()["properties"]
    properties["protocol"] |= {"properties": protocol["properties"], "additionalProperties": False}
    plain = {key: value for key, value in training.items() if key != "kind"}
    properties["training"] |= {"properties": plain, "additionalProperties": False}
    overlay = {key: value for key, value in properties.items() if key != "name"}
    properties["profiles"] = {
        "type": "object",
        "description": "name -> parts of a study, laid over it by --profile",
        "additionalProperties": {"type": "object", "properties": overlay, "additionalProperties": False},
    }
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **whole}
