"""The one ablation mechanism: a system is a typed tree of parts, and an ablation edits the tree before it is built.

A *slot* is a field of a system whose type is a closed union of parts with different ``kind`` tags; the type is the
registry. Removal is also a part (kind ``removed``), which states how the model works without it. So an arm of
a study is ``system.edit(changes)``, and no code below tests whether a part was ablated.
"""

import functools
import inspect
import re
import typing
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.fields import FieldInfo

from models.bases import BaseRef, find_base
from models.bases.families import STABLE_DIFFUSION, Family
from models.contracts import MetaDenoiser, VideoModel
from models.predictor import Predictor
from models.words import allowed_in_words, as_written, did_you_mean, listed

if TYPE_CHECKING:
    from models.bases import Protocol

_SystemT = TypeVar("_SystemT", bound="System")

# ------------------------------------------------------------------------------------------------------------- errors


@dataclass(frozen=True)
class EditProblem:
    """One invalid change: its path, the written value and the allowed values."""

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}"


class EditError(ValueError):
    """An edit with at least one invalid change; ``problems`` holds all of them."""

    def __init__(self, problems: Sequence[EditProblem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = tuple(problems)


class NonFiniteError(ArithmeticError):
    """A value became NaN or infinite while sampling; the message names the step and the clips."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether GPU or CPU memory was exhausted; torch's CPU allocator raises a plain RuntimeError."""
    # By name: the caller may not have imported torch.
    if isinstance(error, MemoryError) or any(kind.__name__ == "OutOfMemoryError" for kind in type(error).__mro__):
        return True
    return isinstance(error, RuntimeError) and "alloc" in str(error).partition("\n")[0]


# -------------------------------------------------------------------------------------------------- parts and systems


class Aliases:
    """Other names of a slot or a value in papers: an annotation of its field, for importing plans in prose.

    Kinds and systems have theirs in ``aliases``. Capitals, hyphens, Greek letters and plurals are normalised.
    """

    def __init__(self, *words: str) -> None:
        self.words = words


def aliases_of(info: FieldInfo) -> tuple[str, ...]:
    """Return the other names of a slot or a value."""
    return tuple(word for note in info.metadata if isinstance(note, Aliases) for word in note.words)


class Part(BaseModel):
    """A part that can fill a slot: plain data until it is built.

    The first sentence of a part's docstring explains the kind, and ``Field(description=...)`` a value and its range;
    both are shown to the author of a study.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    aliases: ClassVar[tuple[str, ...]] = ()
    """Names of this kind in papers."""
    calls: ClassVar[tuple[str, ...]] = ()
    """Functions in ``models`` that run when this kind fills the slot, as ``seer.temporal.WindowAttention.forward``.

    The ablation proof checks that they run, and that they do not run where the part is removed. ``removed`` has none.
    """
    bypasses: ClassVar[tuple[str, ...]] = ()
    """Slots whose parts do not run while this kind fills its slot, as an untrained baseline that is the base itself."""

    in_training: ClassVar[tuple[str, ...]] = ()
    """Values that only affect training, so that a newly built model does not depend on them."""

    kind: str

    @classmethod
    def meaning(cls) -> str:
        """Return the first sentence of the docstring, which explains this kind."""
        first_paragraph = (inspect.getdoc(cls) or "").split("\n\n")[0].replace("\n", " ")
        return re.split(r"(?<=\.)\s", first_paragraph)[0]

    def num_parameters(self, networks: Mapping[str, Any]) -> int:
        """Count the parameters that this part adds to a base's networks; 0 unless a part overrides it.

        Args:
            networks: Networks of the base by name, on the meta device.
        """
        return 0

    def notes(self) -> tuple[str, ...]:
        """Return notes for the reader of the plan, such as that this part equals another kind."""
        return ()


@dataclass(frozen=True)
class Slot:
    """A replaceable place in a system: its default part and the closed set of kinds that can fill it."""

    name: str
    default: Part
    kinds: Mapping[str, type[Part]]


class System(BaseModel):
    """A whole model as a frozen tree: slots filled with parts, and plain values."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    name: ClassVar[str]
    family: ClassVar[Family] = STABLE_DIFFUSION
    """Family of the bases it is built on."""
    aliases: ClassVar[tuple[str, ...]] = ()
    """Other names of the system in papers."""
    components: ClassVar[tuple[str, ...]] = ()
    """Slots of its main components: the parts that it adds to the base model."""
    is_trained: ClassVar[bool] = False
    """Whether its model is a ``TrainedModel``."""
    continues_clips: ClassVar[bool] = False
    """Whether it continues real clips, with their texts as prompts, instead of sampling clips from prompts alone."""

    reads_texts: ClassVar[bool] = False
    """Whether it reads texts with a text encoder beside its base; bases of text-to-image families have their own."""

    inside: ClassVar[tuple[str, ...]] = ()
    """What metrics can read of it beside its clips: ``states``, ``condition`` (its model is then ``Conditioned``)."""

    lengthens: ClassVar[int] = 1
    """Length of clips in a starting study, as a multiple of the base's."""

    in_training: ClassVar[tuple[str, ...]] = ()
    """Slots and values that only affect training, so that a newly built model does not depend on them."""

    @property
    def given_frames(self) -> int:
        """Number of first frames of a clip that the model is given."""
        return 0

    @property
    def most_frames(self) -> int | None:
        """Largest number of frames of a clip; None without a limit."""
        return None

    @property
    def further_texts(self) -> tuple[str, ...]:
        """Names of the further texts of clips that it reads; its model's ``sample`` then takes ``further``."""
        return ()

    @property
    def predictor(self) -> Predictor | None:
        """Who makes the further text ``predicted``; None if it is not read."""
        return None

    def states_of(self, prompts: Sequence[str], further: Mapping[str, Sequence[str]]) -> list[list[str]]:
        """Return the states that the model reads, of each clip; empty lists by default.

        Args:
            prompts: One per clip.
            further: Further texts by name, as the model reads them.
        """
        return [[] for _ in prompts]

    def arranged(self, further: Mapping[str, Sequence[str]]) -> Mapping[str, Sequence[str]]:
        """Return the further texts of a list of clips as the model is to read them; unchanged by default.

        Args:
            further: Further texts by name, one per clip of the whole list.
        """
        return further

    @classmethod
    def find_base(cls, name: str, text_encoder: str = "") -> BaseRef:
        """Find a base for this system; see ``models.bases.find_base``.

        Args:
            name: Name in the study.
            text_encoder: What the study names as text encoder; empty for the base's own.
        """
        ref = find_base(name, cls.family)
        return replace(ref, text_encoder=text_encoder, reads_texts=True) if cls.reads_texts else ref

    @classmethod
    @functools.cache
    def slots(cls) -> Mapping[str, Slot]:
        """Return the slots by field name, in the order of declaration."""
        slots = {}
        for name, info in cls.model_fields.items():
            kinds = _kinds(info)
            if kinds:
                assert isinstance(info.default, Part), f"slot {cls.__name__}.{name} needs a default part"
                slots[name] = Slot(name, info.default, kinds)
        return slots

    @abstractmethod
    def build(self, base: Any, seed: int = 0) -> VideoModel:
        """Build the model that this tree describes on a loaded base, without changing the base.

        Args:
            base: A base of the system's family.
            seed: Seed of the cell; the weights of new parts are drawn from its streams.
        """

    @abstractmethod
    def denoiser_on_meta(self, networks: Mapping[str, Any], protocol: "Protocol") -> MetaDenoiser | None:
        """Build a denoising pass of one clip on the meta device, to count modules, parameters and FLOPs.

        Args:
            networks: Networks of the base by name, on the meta device; not changed.
            protocol: Frames and size of the clip.

        Returns:
            None if nothing is denoised.
        """

    def notes(self) -> tuple[str, ...]:
        """Return the notes of all parts, each with its slot."""
        parts = {name: getattr(self, name) for name in self.slots()}
        return tuple(f"{name}={part.kind}: {note}" for name, part in parts.items() for note in part.notes())

    def edit(self, changes: Mapping[str, object]) -> Self:
        """Return this tree with some parts or values changed; the order of the changes does not matter.

        A path names a slot or a value in a slot. At a slot, a string sets a kind with its default values, a map with
        ``kind`` sets a kind with these values, and a map without ``kind`` changes values of the current part.
        Slots are filled before values inside them are set.

        Args:
            changes: Dotted path -> string, map or value, as in ``{"noise": "removed", "attention.mu": 0.6}``.

        Raises:
            EditError: Some changes are invalid. All of them are reported together, and no change is made.
        """
        edit = _Edit(self, changes)
        for path in sorted(changes, key=lambda path: path.count(".")):
            edit.apply(path, changes[path])
        return edit.finish(type(self))


# -------------------------------------------------------------------------------------------------------------- edits


def _kinds(info: FieldInfo) -> dict[str, type[Part]]:
    """Return the parts that a field's type allows, by kind; empty for a plain value."""
    members = typing.get_args(info.annotation) or (info.annotation,)
    if not all(isinstance(member, type) and issubclass(member, Part) for member in members):
        return {}
    return {member.model_fields["kind"].default: member for member in members}


class _Edit:
    """An edit in progress: the tree as plain data with the changes applied so far, and their problems."""

    def __init__(self, system: System, changes: Mapping[str, object]) -> None:
        self.system = system.name
        self.slots = system.slots()
        self.tree: dict[str, Any] = system.model_dump()
        self.changes = changes
        self.problems: list[EditProblem] = []

    def finish(self, system: type[_SystemT]) -> _SystemT:
        """Validate and return the edited tree."""
        try:
            edited = system.model_validate(self.tree)
        except ValidationError as error:
            for details in error.errors():
                self._refuse_value(system, *map(str, details["loc"]), written=details["input"])
        if self.problems:
            raise EditError(sorted(dict.fromkeys(self.problems), key=self._position))
        return edited

    def apply(self, path: str, value: object) -> None:
        """Apply one change to the tree, or record why it is invalid."""
        name, *inner = path.split(".")
        if name not in self.tree:
            allowed = f"a slot or value of {self.system}: {listed(self.tree)}{did_you_mean(name, self.tree)}"
            self._refuse(path, f"{as_written(name)} -> {allowed}")
        elif inner and (name not in self.slots or len(inner) > 1):
            self._refuse(path, f"{path.rpartition('.')[0]} is a plain value, it has no keys")
        elif inner:
            self._set(self.slots[name], inner[0], value, path)
        elif name in self.slots:
            self._fill(self.slots[name], value)
        else:
            self.tree[name] = value

    def _fill(self, slot: Slot, written: object) -> None:
        """Fill a slot with a part, or change values of its current part."""
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
            self._refuse(path, f"a kind is set at its slot -> {slot.name}: {value}")
        elif not values:
            self._refuse(path, f"{slot.name}={kind} has no values")
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
        """Record a value that pydantic refused, by its path in the study; inner is the kind and the value's name."""
        info = system.model_fields[name]
        if inner:
            *kind, value = inner  # for a slot with one kind, pydantic gives no kind
            part = _kinds(info)[kind[0] if kind else self.tree[name]["kind"]]
            info, name = part.model_fields[value], f"{name}.{value}"
        self._refuse(name, f"{as_written(written)} -> {allowed_in_words(info)}")

    def _position(self, problem: EditProblem) -> int:
        """Return the position among the changes of the change that caused a problem."""
        paths = list(self.changes)
        return paths.index(problem.path if problem.path in paths else problem.path.split(".")[0])
