import math
import re

import optuna
import pytest

from models import SYSTEMS
from search_spaces import SPACES, Choice, Domain, IntUniform, Kinds, LogUniform, Uniform, domain
from tests.factories import fresh

WRITTEN: list[tuple[dict[str, list[object]], Domain]] = [
    ({"uniform": [0, 1]}, Uniform(low=0, high=1)),
    ({"log_uniform": [0.001, 1.5]}, LogUniform(low=0.001, high=1.5)),
    ({"int_uniform": [1, 20]}, IntUniform(low=1, high=20)),
    ({"choice": [4, 8.5, "word"]}, Choice(values=(4, 8.5, "word"))),
    ({"kinds": ["momentum", "removed"]}, Kinds(values=("momentum", "removed"))),
]


@pytest.mark.parametrize(("written", "expected"), WRITTEN)
def test_a_domain_is_read_as_a_study_writes_it(written: dict[str, list[object]], expected: Domain) -> None:
    assert domain(written) == expected
    assert type(expected).model_validate(expected.model_dump()) == expected
    assert expected.written() == written
    assert domain(expected.written()) == expected


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ({"unifrom": [0, 1]}, "did you mean uniform?"),
        ({"uniform": [1, 0]}, "low must be below high, got 1 and 0"),
        ({"uniform": [1, 1]}, "low must be below high, got 1 and 1"),
        ({"uniform": [0, 1, 2]}, "two numbers"),
        ({"uniform": 3}, "two numbers"),
        ({"uniform": ["a", 1]}, "two numbers"),
        ({"uniform": [0, math.inf]}, "two numbers"),
        ({"log_uniform": [0, 1]}, "above 0"),
        ({"int_uniform": [1.5, 2]}, "two whole numbers"),
        ({"int_uniform": [True, 2]}, "two whole numbers"),
        ({"choice": [1]}, "at least two"),
        ({"choice": [1, 1]}, "occurs twice"),
        ({"choice": [1, 1.0]}, "occurs twice"),
        ({"choice": [1, True]}, "occurs twice"),
        ({"choice": [1, math.nan]}, "finite"),
        ({"kinds": [1, 2]}, "kinds of the slot"),
        ([0, 1], "such as {uniform: [0, 1]}"),
        ({"uniform": [0, 1], "choice": [1, 2]}, "a domain with its arguments"),
    ],
)
def test_a_wrong_domain_says_what_is_allowed(written: object, message: str) -> None:
    with pytest.raises(ValueError, match=".") as caught:
        domain(written)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("searched", "inside", "outside", "num_values"),
    [
        (Uniform(low=0, high=1), [0, 0.5, 1], [-0.1, 1.1, "a", True, None, math.nan], None),
        (LogUniform(low=0.1, high=1), [0.1, 1], [0, 2], None),
        (IntUniform(low=1, high=3), [1, 2, 3], [0, 4, 2.5, 2.0, True], 3),
        (Choice(values=(4, 8.5, "word")), [4, 4.0, "word"], [5, "other", None], 3),
        (Choice(values=(0, 1)), [0, 1], [True, False], 2),
        (Choice(values=(False, True)), [True], [1, 0], 2),
        (Kinds(values=("a", "b")), ["a"], ["c"], 2),
    ],
)
def test_a_domain_knows_its_values(
    searched: Domain, inside: list[object], outside: list[object], num_values: int | None
) -> None:
    assert all(map(searched.contains, inside))
    assert not any(map(searched.contains, outside))
    assert all(map(searched.contains, searched.extremes()))
    assert searched.num_values() == num_values


@pytest.mark.parametrize("name", SPACES)
def test_a_named_space_is_a_map_from_paths_to_domains(name: str) -> None:
    assert all(re.fullmatch(r"\w+(\.\w+)?", path) for path in SPACES[name])
    assert all(isinstance(searched, Domain) for searched in SPACES[name].values())
    slots = SYSTEMS[name.partition("_")[0]].slots()
    assert all(isinstance(searched, Kinds) == (path in slots) for path, searched in SPACES[name].items())


@pytest.mark.parametrize("expected", [expected for _, expected in WRITTEN])
def test_optuna_and_tune_draw_inside_the_domain(expected: Domain) -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    drawn = [expected.suggest(study.ask(), "value") for _ in range(30)]
    drawn += [expected.to_tune().sample() for _ in range(30)]
    for value in drawn:
        if isinstance(expected, Choice):
            assert value in expected.extremes()
        else:
            low, high = expected.extremes()
            assert low <= value <= high
    assert len(set(drawn)) > 1


def test_both_ends_of_a_whole_range_are_drawn_by_tune() -> None:
    sampler = IntUniform(low=1, high=2).to_tune()
    assert {sampler.sample() for _ in range(40)} == {1, 2}


def test_importing_domains_needs_neither_ray_nor_optuna_nor_torch() -> None:
    assert not {"ray", "optuna", "torch"} & fresh("import search_spaces").packages
