"""The one ablation mechanism: a system is a typed tree of parts, and an ablation edits the tree before it is built.

A *slot* is a field of a system whose type is a closed union of parts told apart by their ``kind``; the type is the
registry. Absence is a part like any other (kind ``removed``), which states what the model does without it. So an arm of
a study is ``system.edit(changes)``, and nothing below asks whether something was ablated.
"""

import inspect
import re
import typing
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.fields import FieldInfo

from models.bases.families import STABLE_DIFFUSION, Family
from models.contracts import MetaDenoiser, VideoModel
from models.words import allowed_in_words, as_written, did_you_mean, listed

if TYPE_CHECKING:
    from models.bases import Protocol

_SystemT = TypeVar("_SystemT", bound="System")

# ---------------------------------------------------------------------------------------------- what a user did wrong


@dataclass(frozen=True)
class EditProblem:
    """One change that cannot be made: where, and what was written -> what is allowed."""

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}"


class EditError(ValueError):
    """An edit with at least one wrong change; ``problems`` holds all of them."""

    def __init__(self, problems: Sequence[EditProblem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = tuple(problems)


class NonFiniteError(ArithmeticError):
    """Sampling left the finite numbers; the message names the step and the clips."""


# --------------------------------------------------------------------------------------------------- what a system is


class Aliases:
    """What papers call a slot or a value, beside its own name: an annotation of its field, for plans in prose.

    A kind and a system have theirs in ``aliases``. Spelling does not matter: capitals, hyphens, Greek letters and
    plurals are evened out.
    """

    def __init__(self, *words: str) -> None:
        self.words = words


def aliases_of(info: FieldInfo) -> tuple[str, ...]:
    """What else a slot or a value is called."""
    return tuple(word for note in info.metadata if isinstance(note, Aliases) for word in note.words)


class Part(BaseModel):
    """One filling of a slot: plain data until it is built.

    The first sentence of a part's docstring says what it means, and ``Field(description=...)`` why a value has the
    range it has: both are shown to whoever writes a study.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    aliases: ClassVar[tuple[str, ...]] = ()
    """What papers call this kind."""
    calls: ClassVar[tuple[str, ...]] = ()
    """What runs of ``models`` when this kind is in place, as ``seer.temporal.WindowAttention.forward``.

    By it a proof sees that a part is used, and that it is not where it was removed. A kind ``removed`` has none.
    """
    in_training: ClassVar[tuple[str, ...]] = ()
    """Values that act while training alone, so that a model that was just built is the same whatever they are."""

    kind: str

    @classmethod
    def meaning(cls) -> str:
        """What this kind means, in one sentence."""
        first_paragraph = (inspect.getdoc(cls) or "").split("\n\n")[0].replace("\n", " ")
        return re.split(r"(?<=\.)\s", first_paragraph)[0]

    def num_parameters(self, networks: Mapping[str, Any]) -> int:
        """Parameters that this part adds to a base's networks; a part that builds a module says how many.

        Args:
            networks: The base's, by name, on the meta device.
        """
        return 0

    def notes(self) -> tuple[str, ...]:
        """What a reader of the plan should know before this part runs, such as that it equals another kind."""
        return ()


@dataclass(frozen=True)
class Slot:
    """A replaceable place of a system: its default part and the closed set of kinds that may fill it."""

    name: str
    default: Part
    kinds: Mapping[str, type[Part]]


class System(BaseModel):
    """A whole model as a frozen tree: slots filled with parts, and plain values."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    name: ClassVar[str]
    family: ClassVar[Family] = STABLE_DIFFUSION
    """The family of bases it stands on."""
    aliases: ClassVar[tuple[str, ...]] = ()
    """What papers call it, beside its name."""
    components: ClassVar[tuple[str, ...]] = ()
    """Slots that a paper means by its main components: what it adds to the model it starts from."""
    is_trained: ClassVar[bool] = False
    """Whether its model is a ``TrainedModel``."""
    continues_clips: ClassVar[bool] = False
    """Whether it is asked to continue real clips, under their texts, rather than to make clips of its own."""

    @property
    def given_frames(self) -> int:
        """How many first frames of a clip its model is given."""
        return 0

    @classmethod
    def slots(cls) -> dict[str, Slot]:
        """The slots by field name, in the order they are declared."""
        slots = {}
        for name, info in cls.model_fields.items():
            kinds = _kinds(info)
            if kinds:
                assert isinstance(info.default, Part), f"slot {cls.__name__}.{name} needs a default part"
                slots[name] = Slot(name, info.default, kinds)
        return slots

    @abstractmethod
    def build(self, base: Any, seed: int = 0) -> VideoModel:
        """Make the model that this tree describes on a loaded base, which stays as it is.

        Args:
            base: Of the system's family.
            seed: Of the cell; the weights of new parts are drawn from its streams.
        """

    @abstractmethod
    def denoiser_on_meta(self, networks: Mapping[str, Any], protocol: "Protocol") -> MetaDenoiser | None:
        """One denoising pass of a clip on the meta device, to count what it is made of and what it takes.

        Args:
            networks: The base's, by name, on the meta device; they stay as they are.
            protocol: Frames and size of the clip.

        Returns:
            None where nothing is denoised.
        """

    def notes(self) -> tuple[str, ...]:
        """What the parts' notes say, each with the slot it is about."""
        parts = {name: getattr(self, name) for name in self.slots()}
        return tuple(f"{name}={part.kind}: {note}" for name, part in parts.items() for note in part.notes())

    def edit(self, changes: Mapping[str, object]) -> Self:
        """This tree with some parts or values changed; the order of the changes does not matter.

        A path names a slot or a value in one. At a slot, a word puts that kind in (with its defaults), a map with
        ``kind`` likewise with the values given, and a map without ``kind`` changes values of the part that is there.
        Slots are filled before values inside them are set.

        Args:
            changes: Dotted path -> word, map or value, as in ``{"noise": "removed", "attention.mu": 0.6}``.

        Raises:
            EditError: Some change cannot be made. All such changes are reported together, and none is made.
        """
        edit = _Edit(self, changes)
        for path in sorted(changes, key=lambda path: path.count(".")):
            edit.lay_on(path, changes[path])
        return edit.finish(type(self))


# ------------------------------------------------------------------------------------------------ how an edit is made


def _kinds(info: FieldInfo) -> dict[str, type[Part]]:
    """The parts that a field's type allows, by kind; empty for a plain value."""
    members = typing.get_args(info.annotation) or (info.annotation,)
    if not all(isinstance(member, type) and issubclass(member, Part) for member in members):
        return {}
    return {member.model_fields["kind"].default: member for member in members}


class _Edit:
    """One edit under way: the tree as plain data with changes laid on, and what is wrong with them so far."""

    def __init__(self, system: System, changes: Mapping[str, object]) -> None:
        self.system = system.name
        self.slots = system.slots()
        self.tree: dict[str, Any] = system.model_dump()
        self.changes = changes
        self.problems: list[EditProblem] = []

    def finish(self, system: type[_SystemT]) -> _SystemT:
        """The edited tree, if nothing is wrong with it."""
        try:
            edited = system.model_validate(self.tree)
        except ValidationError as error:
            for details in error.errors():
                self._refuse_value(system, *map(str, details["loc"]), written=details["input"])
        if self.problems:
            raise EditError(sorted(dict.fromkeys(self.problems), key=self._position))
        return edited

    def lay_on(self, path: str, value: object) -> None:
        """Write one change into the tree, or note why it cannot be."""
        name, *inner = path.split(".")
        if name not in self.tree:
            allowed = f"a slot or value of {self.system}: {listed(self.tree)}{did_you_mean(name, self.tree)}"
            self._refuse(path, f"{as_written(name)} -> {allowed}")
        elif inner and (name not in self.slots or len(inner) > 1):
            self._refuse(path, f"{path.rpartition('.')[0]} is a plain value, nothing lies below it")
        elif inner:
            self._set(self.slots[name], inner[0], value, path)
        elif name in self.slots:
            self._fill(self.slots[name], value)
        else:
            self.tree[name] = value

    def _fill(self, slot: Slot, written: object) -> None:
        """Put a part, or other values of the part that is there, into a slot."""
        given = {"kind": written} if isinstance(written, str) else written
        if not isinstance(given, Mapping):
            self._refuse(slot.name, f"{as_written(written)} -> a kind ({listed(slot.kinds)}) or a map of values")
            return
        kind = given.get("kind", self.tree[slot.name]["kind"])
        if not isinstance(kind, str) or kind not in slot.kinds:
            allowed = f"a kind of {slot.name}: {listed(slot.kinds)}{did_you_mean(kind, slot.kinds)}"
            self._refuse(slot.name, f"{as_written(kind)} -> {allowed}")
            return
        if "kind" in given:
            self.tree[slot.name] = {"kind": kind}
        for key in (key for key in given if key != "kind"):
            self._set(slot, str(key), given[key], f"{slot.name}.{key}")

    def _set(self, slot: Slot, key: str, value: object, path: str) -> None:
        """Set one value of the part that fills a slot."""
        kind = self.tree[slot.name]["kind"]
        values = [name for name in slot.kinds[kind].model_fields if name != "kind"]
        whole = self.changes.get(slot.name)
        if key == "kind":
            self._refuse(path, f"a kind is put in at its slot: write {slot.name}: {value}")
        elif not values:
            self._refuse(path, f"{slot.name} is {kind} here, which has no values")
        elif key not in values:
            allowed = f"a value of {slot.name}={kind}: {listed(values)}{did_you_mean(key, values)}"
            self._refuse(path, f"{as_written(key)} -> {allowed}")
        elif path in self.changes and isinstance(whole, Mapping) and key in whole:
            self._refuse(path, f"set twice in one edit: {as_written(whole[key])} and {as_written(self.changes[path])}")
        else:
            self.tree[slot.name][key] = value

    def _refuse(self, path: str, message: str) -> None:
        self.problems.append(EditProblem(path, message))

    def _refuse_value(self, system: type[System], name: str, *inner: str, written: object) -> None:
        """Note a value that pydantic refused, in the study's own words; inner is the kind and the value's name."""
        info = system.model_fields[name]
        if inner:
            *kind, value = inner  # of a slot with one kind, pydantic does not say which
            part = _kinds(info)[kind[0] if kind else self.tree[name]["kind"]]
            info, name = part.model_fields[value], f"{name}.{value}"
        self._refuse(name, f"{as_written(written)} -> {allowed_in_words(info)}")

    def _position(self, problem: EditProblem) -> int:
        """Where the change that a problem is about stands among the changes."""
        paths = list(self.changes)
        return paths.index(problem.path if problem.path in paths else problem.path.split(".")[0])
