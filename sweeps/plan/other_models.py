"""Arms of another system, base or sampling: what such an arm may change, and what all arms of a table share.

An arm under ``arms`` may have the keys ``system``, ``base``, ``text_encoder`` and ``protocol`` of a study. What is
scored belongs to the study: data, clips, given frames, number and size of frames, and the networks of the metrics are
the same for all arms.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from models import SYSTEMS
from models.bases import Protocol
from models.system import System
from sweeps.plan.bases import Named, Wrong, locate, off_the_grid, unread
from sweeps.study import words
from sweeps.study.document import Key
from sweeps.study.types import Study

OWN = ("system", "base", "text_encoder", "protocol")
"""Keys of a study that an arm may replace."""
SAMPLING = ("steps", "guidance", "micro_batch")
"""Keys of the protocol that an arm may replace: they decide how clips are sampled, not which clips are scored."""
NO_CHANGE = frozenset(Study.model_fields) - {"training"}
"""Keys of a study that are no change of a system's tree; ``training`` is a slot of every trained system."""


@dataclass(frozen=True)
class Model:
    """What an arm is built on and sampled with.

    Args:
        system: Its system.
        base: Its base, as the study writes it.
        text_encoder: Text encoder beside its base; empty for the base's own, and for a system that reads none.
        sampling: Keys of the protocol whose values differ from the study's.
    """

    system: type[System]
    base: str
    text_encoder: str
    sampling: Mapping[str, Any]

    @classmethod
    def of_study(cls, study: Study) -> Self:
        """Return the model of a study's control."""
        system = SYSTEMS[study.system]
        return cls(system, study.base, study.text_encoder if system.reads_texts else "", {})


def model_of(
    own: Mapping[str, object], place: Key, study: Study, protocol: Protocol | None, wrong: Wrong
) -> Model | None:
    """Read the keys of an arm that are no change of its tree.

    Args:
        own: These keys with their values.
        place: Place of the arm.
        study: The study.
        protocol: Its protocol, after the defaults of its base; None for an invalid one.
        wrong: Problems are added to it.

    Returns:
        None if the arm's system is invalid.
    """
    wrong += [((*place, key), _shared(key)) for key in own if key not in OWN]
    system = (
        _system(own.get("system", study.system), (*place, "system"), study, wrong)
        if "system" in own
        else SYSTEMS[study.system]
    )
    if system is None:
        return None
    sampling = _sampling(own["protocol"], (*place, "protocol"), protocol, wrong) if "protocol" in own else {}
    named = _named(own, place, study, system, wrong)
    if {"system", "base", "text_encoder"} & own.keys():
        _check_base(named, system, protocol, wrong)
    return Model(system, named.base, named.text_encoder, sampling)


def _named(own: Mapping[str, object], place: Key, study: Study, system: type[System], wrong: Wrong) -> Named:
    """Return an arm's base with its text encoder: what the arm names, else the study."""
    base, texts = own.get("base", study.base), own.get("text_encoder", study.text_encoder)
    if not isinstance(base, str) or not base and "base" in own:
        wrong.append(((*place, "base"), f"{words.written(base)} -> an embedded base, a folder, or a hub id"))
        base = ""
    if not isinstance(texts, str):
        wrong.append(((*place, "text_encoder"), f"{words.written(texts)} -> an embedded base, a folder, or a hub id"))
        texts = ""
    if "text_encoder" in own and not system.reads_texts:
        wrong.append(((*place, "text_encoder"), unread(system)))
    deciding = next((key for key in ("base", "system", "text_encoder") if key in own), "base")
    place_of_texts = (*place, "text_encoder") if "text_encoder" in own else ("text_encoder",)
    return Named(base, texts if system.reads_texts else "", (*place, deciding), place_of_texts)


def unlike_control(system: System, changes: Mapping[str, object], place: Key, control: System) -> Wrong:
    """List what keeps an arm of another system out of the control's table.

    Args:
        system: The arm's tree.
        changes: Changes of the tree as the study writes them.
        place: Place of the arm.
        control: The control's tree.
    """
    wrong: Wrong = []
    if system.continues_clips != control.continues_clips:
        asked = {True: "the texts of the clips that it continues", False: "the prompts of the data"}
        message = (
            f"{system.name} is asked {asked[system.continues_clips]}, the control {asked[control.continues_clips]}, so "
            "other clips would be scored -> a block for each"
        )
        wrong.append((place, message))
    elif system.given_frames != control.given_frames:
        message = (
            f"{system.name} is given {words.counted(system.given_frames, 'frame')} of each clip, the control "
            f"{control.given_frames}, so other frames would be scored -> the same number, or a block for each"
        )
        wrong.append((place, message))
    training = changes.get("training")
    if (
        system.is_trained
        and "training.steps" not in changes
        and not (isinstance(training, Mapping) and "steps" in training)
    ):
        wrong.append((place, f"{system.name} is trained, but training.steps is missing -> training: {{steps: 400}}"))
    return wrong


def _shared(key: str) -> str:
    """Word the message for a key that only the study has."""
    if key == "control":
        return "an arm changes its system directly -> the paths of control beside the arm's other keys"
    return f"{key} is shared by all arms of a table -> remove it here; blocks compare studies that differ in {key}"


def _system(written: object, place: Key, study: Study, wrong: Wrong) -> type[System] | None:
    """Find the system that an arm names."""
    if not isinstance(written, str) or written not in SYSTEMS:
        wrong.append((place, words.not_among(written, SYSTEMS)))
        return None
    if written == study.system:
        reason = "the study's own system, whose arms change the control"
        wrong.append((place, f"{written} is {reason} -> remove this key, or another system"))
        return None
    return SYSTEMS[written]


def _check_base(named: Named, system: type[System], protocol: Protocol | None, wrong: Wrong) -> None:
    """Check that a system can be built on a base, and that the base can sample frames of the study's size."""
    ref, _ = locate(named, system, wrong)
    if ref is not None and protocol is not None:
        grid = off_the_grid(named.base, ref, protocol)
        wrong += [(named.place, f"{key} {message}") for key, message in grid.items()]


def _sampling(written: object, place: Key, protocol: Protocol | None, wrong: Wrong) -> dict[str, Any]:
    """Return the keys of an arm's protocol that differ from the study's."""
    if not isinstance(written, dict):
        wrong.append((place, f"{words.written(written)} -> a map of {', '.join(SAMPLING)}"))
        return {}
    common = (protocol or Protocol()).model_dump()
    if misfits := words.problems(Protocol, {**common, **written}):
        wrong += [((*place, *inner), message) for inner, message in misfits]
        return {}
    changed = {key: value for key, value in written.items() if value != common[key]}
    if protocol is not None:
        wrong += [
            ((*place, key), _scored(key, common[key], value)) for key, value in changed.items() if key not in SAMPLING
        ]
    return changed


def _scored(key: str, common: object, value: object) -> str:
    """Word the message for a key of the protocol that decides what is scored."""
    return (
        f"{value}, and {common} in the control: clips of one table have the same {key} -> {common}, or a block for each"
    )
