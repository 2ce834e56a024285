"""Field types of the study file, each with its error message and its JSON schema."""

import re
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
    Tag,
    WithJsonSchema,
)

from search_spaces import SPACES, Domain, domain
from search_spaces.domains import DOMAINS
from trainables.metrics import METRICS

MAX_SEEDS = 1000
MAX_SEED = 2**31 - 1
MAX_TRIALS = 10_000
MAX_REPEATS = 100

Diverged = Literal["compared", "worst"]
"""What becomes of seeds that diverged."""

Unit = Literal["seed", "clip", "prompt"]
"""Unit of a comparison: one gives one pair of arm and control."""

REMOVED = "removed"
"""Kind of a removed part."""

RESERVED = ("cache", "mlartifacts", "mlflow.db", "references")
"""Names in a storage folder that are not studies."""


def _string_or_map(value: object) -> object:
    if not isinstance(value, str | dict):
        raise ValueError("a kind (a string), or a map of values")
    return value


def _value(value: object) -> object:
    if not isinstance(value, bool | int | float | str):
        raise ValueError("a number, a string, true or false")
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


def words_or_map(value: object) -> str | None:
    """Discriminate a hypothesis in words from one written as a map."""
    if isinstance(value, str):
        return "words"
    return "a map" if isinstance(value, dict | BaseModel) else None


def _seeds_or_rule(value: object) -> str:
    return "a rule" if isinstance(value, dict | SeedRule) else "seeds"


def distinct(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """Validate that no value is listed twice."""
    for position, value in enumerate(values):
        if value in values[:position]:
            raise ValueError(f"each entry once; {value} is listed twice")
    return values


def _arm_name(name: str) -> str:
    if not re.fullmatch(r"\w[\w .,=+-]{0,99}", name):
        raise ValueError("an arm's name: up to 100 letters, digits, spaces and . , _ = + -")
    if name == "control":
        raise ValueError("another name: control is the arm without changes")
    return name


def _name(name: str) -> str:
    if name in RESERVED:
        raise ValueError("another name: the storage folder uses this name for its own files")
    return name


def as_design(value: object) -> object:
    """Convert the short form of a design, its kind, to a map."""
    return {"kind": value} if isinstance(value, str) else value


def as_data(value: object) -> object:
    """Convert the short form of data, the layout's name, to a map."""
    return {"layout": value} if isinstance(value, str) else value


def as_grouping(value: object) -> object:
    """Convert the short form of a grouping, its column, to a map."""
    if not isinstance(value, str | dict) and value is not None:
        raise ValueError("a column of the annotations, such as category, or a map")
    return {"column": value} if isinstance(value, str) else value


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
    BeforeValidator(_string_or_map),
    WithJsonSchema({"type": ["string", "object"], "description": "a kind, or values of the part"}),
]
"""Change at a slot's path: a kind, or a map of values (of another part if it has the key ``kind``)."""

Change = Annotated[Any, WithJsonSchema({"type": ["string", "number", "boolean", "object"]})]
"""Change at any path: an edit of a part, or a value."""

Text = Annotated[str, Field(min_length=1)]
Name = Annotated[
    str,
    Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,99}$", description="a folder name: a-z 0-9 . _ -"),
    AfterValidator(_name),
]
ArmName = Annotated[str, AfterValidator(_arm_name)]
Scalar = Annotated[
    bool | int | float | str, BeforeValidator(_value), WithJsonSchema({"type": ["number", "string", "boolean"]})
]
With = Annotated[
    Annotated[tuple[Text, ...], Field(min_length=1), AfterValidator(distinct), Tag("a list of kinds")]
    | Annotated[dict[ArmName, Edit], Field(min_length=1), Tag("a map of arms")],
    Discriminator(_with, custom_error_type="with", custom_error_message="a list of kinds, or a map of arms"),
]
MetricName = Annotated[Text, WithJsonSchema({"type": "string", "enum": list(METRICS)})]
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
    Annotated[tuple[MetricName, ...], Field(min_length=1), AfterValidator(distinct), Tag("a list of metrics")]
    | Annotated[dict[MetricName, Literal["max", "min"]], Field(min_length=1), Tag("a map of directions")],
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
    """Adaptive number of seeds: an arm leaves at the interim look that decides it, or shows no sign of an effect."""

    min: Annotated[int, Field(ge=2, le=MAX_SEEDS)] = Field(4, description="minimum number of seeds")
    max: Annotated[int, Field(ge=2, le=MAX_SEEDS, description="maximum number of seeds")]
    stop: Annotated[
        Literal["decided"],
        Field(description="decided: an arm leaves once it differs, is equivalent, or shows no sign of an effect"),
    ]


_ListedSeeds = Annotated[
    tuple[int, ...],
    BeforeValidator(_seeds),
    AfterValidator(distinct),
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
