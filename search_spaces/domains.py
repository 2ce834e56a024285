"""Typed domains of a searched value; plain data until Optuna or Ray Tune asks.

A study writes a domain as one word with its arguments: ``{uniform: [0, 1]}``, ``{log_uniform: [0.001, 1.5]}``,
``{int_uniform: [1, 20]}``, ``{choice: [4, 8]}``, ``{kinds: [momentum, removed]}``.
"""

import difflib
from abc import abstractmethod
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

Value = float | int | str | bool


class Domain(BaseModel):
    """The values that one searched place of a tree may take."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    arguments: ClassVar[str]

    kind: str

    @abstractmethod
    def written(self) -> dict[str, list[Value]]:
        """The domain as a study writes it; ``domain`` reads it back."""

    @abstractmethod
    def contains(self, value: object) -> bool:
        """Whether a value may be drawn."""

    @abstractmethod
    def num_values(self) -> int | None:
        """How many different values there are; None for a continuum."""

    @abstractmethod
    def suggest(self, trial: Any, name: str) -> Value:
        """Ask an Optuna trial for a value under a name."""

    @abstractmethod
    def to_tune(self) -> Any:
        """The same domain as a Ray Tune sampler."""

    @abstractmethod
    def extremes(self) -> tuple[Value, ...]:
        """The values that must be allowed for all to be: both ends of a range, every member of a choice."""


class _Range(Domain):
    arguments = "[low, high], two numbers"

    low: float
    high: float

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if not self.low < self.high:
            raise ValueError(f"low must be below high, and {self.low:g} is not below {self.high:g}")
        return self

    def written(self) -> dict[str, list[Value]]:
        """Kind and both ends."""
        return {self.kind: [self.low, self.high]}

    def contains(self, value: object) -> bool:
        """Whether a number lies between the ends, both included."""
        return isinstance(value, int | float) and not isinstance(value, bool) and self.low <= value <= self.high

    def num_values(self) -> int | None:
        """None: a continuum."""
        return None

    def extremes(self) -> tuple[Value, ...]:
        """Both ends."""
        return self.low, self.high


class Uniform(_Range):
    """Any number from low to high, all equally likely."""

    kind: Literal["uniform"] = "uniform"

    def suggest(self, trial: Any, name: str) -> float:
        """Ask an Optuna trial for a value under a name."""
        return float(trial.suggest_float(name, self.low, self.high))

    def to_tune(self) -> Any:
        """The same domain as a Ray Tune sampler."""
        from ray import tune

        return tune.uniform(self.low, self.high)


class LogUniform(_Range):
    """Any number from low to high, all orders of magnitude equally likely; low is above 0."""

    arguments = "[low, high], two numbers above 0"

    kind: Literal["log_uniform"] = "log_uniform"
    low: Annotated[float, Field(gt=0)]

    def suggest(self, trial: Any, name: str) -> float:
        """Ask an Optuna trial for a value under a name."""
        return float(trial.suggest_float(name, self.low, self.high, log=True))

    def to_tune(self) -> Any:
        """The same domain as a Ray Tune sampler."""
        from ray import tune

        return tune.loguniform(self.low, self.high)


class IntUniform(_Range):
    """Any whole number from low to high, both included, all equally likely."""

    arguments = "[low, high], two whole numbers"

    kind: Literal["int_uniform"] = "int_uniform"
    low: int
    high: int

    def contains(self, value: object) -> bool:
        """Whether a whole number lies between the ends, both included."""
        return isinstance(value, int) and super().contains(value)

    def num_values(self) -> int | None:
        """The whole numbers between the ends, both included."""
        return self.high - self.low + 1

    def suggest(self, trial: Any, name: str) -> int:
        """Ask an Optuna trial for a value under a name."""
        return int(trial.suggest_int(name, self.low, self.high))

    def to_tune(self) -> Any:
        """The same domain as a Ray Tune sampler (whose upper end is excluded)."""
        from ray import tune

        return tune.randint(self.low, self.high + 1)


class Choice(Domain):
    """One of some values, all equally likely."""

    arguments = "a list of at least two different finite values"

    kind: Literal["choice"] = "choice"
    values: Annotated[tuple[Value, ...], Field(min_length=2)]

    @model_validator(mode="after")
    def _different(self) -> Self:
        if len(set(self.values)) < len(self.values):  # 1, 1.0 and true are one value to Optuna
            raise ValueError("a value occurs twice")
        return self

    def written(self) -> dict[str, list[Value]]:
        """Kind and members."""
        return {self.kind: list(self.values)}

    def contains(self, value: object) -> bool:
        """Whether it is one of the members."""
        return any(value == own and isinstance(value, bool) == isinstance(own, bool) for own in self.values)

    def num_values(self) -> int | None:
        """The number of members."""
        return len(self.values)

    def suggest(self, trial: Any, name: str) -> Value:
        """Ask an Optuna trial for a value under a name."""
        value: Value = trial.suggest_categorical(name, self.values)
        return value

    def to_tune(self) -> Any:
        """The same domain as a Ray Tune sampler."""
        from ray import tune

        return tune.choice(list(self.values))

    def extremes(self) -> tuple[Value, ...]:
        """Every member."""
        return self.values


class Kinds(Choice):
    """One of some kinds of a slot, all equally likely."""

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
    """Read a domain as a study writes it, such as ``{"uniform": [0, 1]}``.

    Raises:
        ValueError: Anything else; the message says what is allowed.
    """
    if not isinstance(written, dict) or len(written) != 1:
        raise ValueError("one domain with its arguments, such as {uniform: [0, 1]}")
    [(word, arguments)] = written.items()
    if word not in DOMAINS:
        near = difflib.get_close_matches(str(word), DOMAINS, n=1)
        hint = f" (did you mean {near[0]}?)" if near else ""
        raise ValueError(f"a domain: {', '.join(DOMAINS)}{hint}")
    kind = DOMAINS[word]
    names = [name for name in kind.model_fields if name in ("low", "high")]
    if not isinstance(arguments, list) or (names and len(arguments) != len(names)):
        raise ValueError(f"{word}: {kind.arguments}")
    values = dict(zip(names, arguments, strict=True)) if names else {"values": tuple(arguments)}
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        reasons = [f": {details['ctx']['error']}" for details in error.errors() if details["type"] == "value_error"]
        raise ValueError(f"{word}: {kind.arguments}{''.join(reasons)}") from None
