"""States of clips: which texts each kind reads, how many it takes, and whose they are."""

import pytest

from models.aid import AID
from models.aid.states import deranged, evenly, from_columns, from_parts, split_states
from models.predictor import Predictor

FURTHER = {
    "state_1": ["up", "left"],
    "state_2": ["down", "right"],
    "predicted": ["it rises; it drops", "it stays; it turns"],
    "oracle": ["a; b; c; d; e; f; g; h", "1\n2; 3;4 ; 5; 6; 7; 8;"],
}


def texts(kind: object, further: dict[str, list[str]] = FURTHER) -> list[list[str]]:
    tree = AID().edit({"states": kind})
    return tree.states.texts(["lift", "drop"], tree.arranged(further))


def test_predicted_states_are_those_of_the_llava_that_is_named() -> None:
    assert texts({"kind": "llava", "number": 2}) == [["it rises", "it drops"], ["it stays", "it turns"]]
    tree = AID().edit({"llava": "org/model", "states.number": 8})
    assert tree.further_texts == ("predicted",)
    assert tree.predictor == Predictor("org/model", "v1", 8)
    assert tree.edit({"states": "shuffled"}).predictor == Predictor("org/model", "v1", 4), "its states are shuffled"
    assert all(tree.edit({"states": kind}).predictor is None for kind in ("oracle", "file", "repeat", "removed"))


def test_the_instruction_is_repeated() -> None:
    assert texts({"kind": "repeat", "number": 2}) == [["lift", "lift"], ["drop", "drop"]]


def test_states_on_file_are_one_column_each() -> None:
    assert texts({"kind": "file", "number": 2}) == [["up", "down"], ["left", "right"]]
    assert AID().edit({"states": {"kind": "file", "number": 2}}).further_texts == ("state_1", "state_2")


@pytest.mark.parametrize(("number", "first"), [(1, "h"), (2, "dh"), (4, "bdfh"), (8, "abcdefgh")])
def test_the_oracle_s_parts_are_chosen_evenly(number: int, first: str) -> None:
    found = texts({"kind": "oracle", "number": number})
    assert found[0] == list(first)
    assert found[1][-1] == "8"


def test_fewer_parts_than_asked_for_are_repeated_in_order() -> None:
    assert evenly(["a", "b"], 4) == ["a", "a", "b", "b"]
    assert evenly(["a", "b", "c"], 2) == ["b", "c"]
    assert evenly(["a"], 3) == ["a", "a", "a"]


def test_shuffled_states_are_whole_and_another_clip_s() -> None:
    assert texts({"kind": "shuffled", "of": "file", "number": 2}) == [["left", "right"], ["up", "down"]]
    assert texts({"kind": "shuffled", "of": "oracle", "number": 1}) == [["8"], ["h"]]
    assert texts({"kind": "shuffled", "number": 2}) == [["it stays", "it turns"], ["it rises", "it drops"]]
    assert AID().edit({"states": {"kind": "shuffled", "of": "oracle"}}).further_texts == ("oracle",)


@pytest.mark.parametrize("n", [2, 3, 17])
def test_no_clip_keeps_its_own_and_each_is_given_once(n: int) -> None:
    own = [str(k) for k in range(n)]
    other = deranged(own)
    assert sorted(other) == sorted(own)
    assert all(one != two for one, two in zip(own, other, strict=True))
    assert other == deranged(own)


def test_no_states() -> None:
    assert texts("removed") == []
    assert AID().edit({"states": "removed"}).further_texts == ()


def test_what_is_missing_is_said() -> None:
    with pytest.raises(
        ValueError, match=r"no further text state_3 \(state_1, state_2, predicted, oracle\) -> a column state_3"
    ):
        texts("file")
    with pytest.raises(ValueError, match=r"no further text oracle \(none\)"):
        texts("oracle", {})
    with pytest.raises(ValueError, match="one clip has no other clip"):
        deranged(["alone"])
    with pytest.raises(ValueError, match="a clip has no states"):
        split_states(" ; \n")
    with pytest.raises(ValueError, match="a clip has no text in state_1"):
        from_columns({"state_1": ["up", " "]}, ["state_1"])
    assert from_parts({"oracle": ["a;b"]}, "oracle", 1) == [["b"]]
