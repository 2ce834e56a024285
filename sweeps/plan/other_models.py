"""Arms of another system, base or sampling: what such an arm may change, and what all arms of a table share.

An arm under ``arms`` may have the keys ``system``, ``base`` and ``protocol`` of a study. What is scored belongs to the
study: data, clips, given frames, number and size of frames, and the networks of the metrics are the same for all arms.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from models import SYSTEMS
from models.bases import Protocol
from models.system import System
from sweeps.plan.bases import Wrong, locate, off_the_grid
from sweeps.study import words
from sweeps.study.document import Key
from sweeps.study.types import Study

OWN = ("system", "base", "protocol")
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
        sampling: Keys of the protocol whose values differ from the study's.
    """

    system: type[System]
    base: str
    sampling: Mapping[str, Any]


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
    base = own.get("base", study.base)
    if not isinstance(base, str) or not base and "base" in own:
        wrong.append(((*place, "base"), f"{words.written(base)} -> an embedded base, a folder, or a hub id"))
    elif "base" in own or "system" in own:
        _check_base(base, system, (*place, "base" if "base" in own else "system"), protocol, wrong)
    return Model(system, str(base), sampling)


def unlike_control(system: System, changes: Mapping[str, object], place: Key, control: System) -> Wrong:
    """List what keeps an arm of another system out of the control's table.

    Args:
        system: The arm's tree.
        changes: Changes of the tree as the study writes them.
        place: Place of the arm.
        control: The control's tree.
    """
    wrong: Wrong = []
    if system.given_frames != control.given_frames:
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


def _check_base(name: str, system: type[System], place: Key, protocol: Protocol | None, wrong: Wrong) -> None:
    """Check that a system can be built on a base, and that the base can sample frames of the study's size."""
    ref, _ = locate(name, system, place, wrong)
    if ref is not None and protocol is not None:
        wrong += [(place, f"{key} {message}") for key, message in off_the_grid(name, ref, protocol).items()]


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
