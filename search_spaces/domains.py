"""Typed domains of searched values, as plain data.

A study writes a domain as a name with its arguments: ``{uniform: [0, 1]}``, ``{log_uniform: [0.001, 1.5]}``,
``{int_uniform: [1, 20]}``, ``{choice: [4, 8]}``, ``{kinds: [momentum, removed]}``.
"""

import difflib
from abc import abstractmethod
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

Value = float | int | str | bool


class Domain(BaseModel):
    """Allowed values of a searched slot or value."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    arguments: ClassVar[str]

    kind: str

    @abstractmethod
    def written(self) -> dict[str, list[Value]]:
        """Return the domain in the format of a study; ``domain`` reads it back."""

    @abstractmethod
    def contains(self, value: object) -> bool:
        """Whether a value is in the domain."""

    @abstractmethod
    def num_values(self) -> int | None:
        """Count the distinct values; None for a continuous domain."""

    @abstractmethod
    def suggest(self, trial: Any, name: str) -> Value:
        """Suggest a value for an Optuna trial, under a name."""

    @abstractmethod
    def to_tune(self) -> Any:
        """Convert to a Ray Tune sampler."""

    @abstractmethod
    def extremes(self) -> tuple[Value, ...]:
        """Return the values whose validity implies that of all: both ends of a range, every value of a choice."""


class _Range(Domain):
    arguments = "[low, high], two numbers"

    low: float
    high: float

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if not self.low < self.high:
            raise ValueError(f"low must be below high, got {self.low:g} and {self.high:g}")
        return self

    def written(self) -> dict[str, list[Value]]:
        """Return kind and both ends."""
        return {self.kind: [self.low, self.high]}

    def contains(self, value: object) -> bool:
        """Whether a number lies between the ends, both included."""
        return isinstance(value, int | float) and not isinstance(value, bool) and self.low <= value <= self.high

    def num_values(self) -> int | None:
        """Return None: the domain is continuous."""
        return None

    def extremes(self) -> tuple[Value, ...]:
        """Return both ends."""
        return self.low, self.high


class Uniform(_Range):
    """Uniform distribution over the numbers from low to high."""

    kind: Literal["uniform"] = "uniform"

    def suggest(self, trial: Any, name: str) -> float:
        """Suggest a value for an Optuna trial, under a name."""
        return float(trial.suggest_float(name, self.low, self.high))

    def to_tune(self) -> Any:
        """Convert to a Ray Tune sampler."""
        from ray import tune

        return tune.uniform(self.low, self.high)


class LogUniform(_Range):
    """Log-uniform distribution over the numbers from low to high; low is above 0."""

    arguments = "[low, high], two numbers above 0"

    kind: Literal["log_uniform"] = "log_uniform"
    low: Annotated[float, Field(gt=0)]

    def suggest(self, trial: Any, name: str) -> float:
        """Suggest a value for an Optuna trial, under a name."""
        return float(trial.suggest_float(name, self.low, self.high, log=True))

    def to_tune(self) -> Any:
        """Convert to a Ray Tune sampler."""
        from ray import tune

        return tune.loguniform(self.low, self.high)


class IntUniform(_Range):
    """Uniform distribution over the whole numbers from low to high, both included."""

    arguments = "[low, high], two whole numbers"

    kind: Literal["int_uniform"] = "int_uniform"
    low: int
    high: int

    def contains(self, value: object) -> bool:
        """Whether a whole number lies between the ends, both included."""
        return isinstance(value, int) and super().contains(value)

    def num_values(self) -> int | None:
        """Count the whole numbers between the ends, both included."""
        return self.high - self.low + 1

    def suggest(self, trial: Any, name: str) -> int:
        """Suggest a value for an Optuna trial, under a name."""
        return int(trial.suggest_int(name, self.low, self.high))

    def to_tune(self) -> Any:
        """Convert to a Ray Tune sampler (whose upper end is excluded)."""
        from ray import tune

        return tune.randint(self.low, self.high + 1)


class Choice(Domain):
    """Uniform distribution over a list of values."""

    arguments = "a list of at least two different finite values"

    kind: Literal["choice"] = "choice"
    values: Annotated[tuple[Value, ...], Field(min_length=2)]

    @model_validator(mode="after")
    def _different(self) -> Self:
        if len(set(self.values)) < len(self.values):  # Optuna treats 1, 1.0 and true as the same value
            raise ValueError("a value occurs twice")
        return self

    def written(self) -> dict[str, list[Value]]:
        """Return kind and values."""
        return {self.kind: list(self.values)}

    def contains(self, value: object) -> bool:
        """Whether a value is in the list."""
        return any(value == own and isinstance(value, bool) == isinstance(own, bool) for own in self.values)

    def num_values(self) -> int | None:
        """Return the number of values."""
        return len(self.values)

    def suggest(self, trial: Any, name: str) -> Value:
        """Suggest a value for an Optuna trial, under a name."""
        value: Value = trial.suggest_categorical(name, self.values)
        return value

    def to_tune(self) -> Any:
        """Convert to a Ray Tune sampler."""
        from ray import tune

        return tune.choice(list(self.values))

    def extremes(self) -> tuple[Value, ...]:
        """Return all values."""
        return self.values


class Kinds(Choice):
    """Uniform distribution over kinds of a slot."""

    arguments = "a list of at least two different kinds of the slot"

    kind: Literal["kinds"] = "kinds"  # type: ignore[assignment]
    values: Annotated[tuple[str, ...], Field(min_length=2)]


DOMAINS: dict[str, type[Domain]] = {
    "uniform": Uniform,
    "log_uniform": LogUniform,
    "int_uniform": IntUniform,
    "choice": Choice,
    "kinds": Kinds,
}


def domain(written: object) -> Domain:
    """Read a domain in the format of a study, such as ``{"uniform": [0, 1]}``.

    Raises:
        ValueError: The domain is invalid; the message gives the allowed format.
    """
    if not isinstance(written, dict) or len(written) != 1:
        raise ValueError("a domain with its arguments, such as {uniform: [0, 1]}")
    [(name, arguments)] = written.items()
    if name not in DOMAINS:
        near = difflib.get_close_matches(str(name), DOMAINS, n=1)
        hint = f" (did you mean {near[0]}?)" if near else ""
        raise ValueError(f"a domain: {', '.join(DOMAINS)}{hint}")
    kind = DOMAINS[name]
    ends = [field for field in kind.model_fields if field in ("low", "high")]
    if not isinstance(arguments, list) or (ends and len(arguments) != len(ends)):
        raise ValueError(f"{name}: {kind.arguments}")
    values = dict(zip(ends, arguments, strict=True)) if ends else {"values": tuple(arguments)}
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        reasons = [f": {details['ctx']['error']}" for details in error.errors() if details["type"] == "value_error"]
        raise ValueError(f"{name}: {kind.arguments}{''.join(reasons)}") from None
