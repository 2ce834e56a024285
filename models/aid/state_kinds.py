"""Kinds of states, as plain data: which texts of a clip say what will happen in it.

Source: AID (arXiv 2406.06465), section on prompting a language model for the states of the video.
"""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from models.predictor import PREDICTED, Predictor
from models.system import Aliases, Part

Number = Annotated[
    Literal[1, 2, 4, 8], Field(description="states per clip"), Aliases("number of states", "state number")
]


PromptVersion = Annotated[Literal["v1"], Field(description="version of the text that asks for the states")]


class States(Part):
    """States of a clip in order, which the lower branch of the condition reads."""

    given: ClassVar[bool] = True
    """Whether there are states."""

    @property
    def reads(self) -> tuple[str, ...]:
        """Further texts of the clips that it reads."""
        return ()

    def predictor(self, llava: str) -> Predictor | None:
        """Return who makes the further text ``predicted``, if it is read.

        Args:
            llava: The Llava; empty for the one that the base names.
        """
        return None

    @abstractmethod
    def texts(self, instructions: Sequence[str], further: Mapping[str, Sequence[str]]) -> list[list[str]]:
        """Return the states of every clip; the same number for each.

        Args:
            instructions: One per clip.
            further: Further texts by name, one per clip.

        Raises:
            ValueError: A further text is missing or has no states.
        """

    def arranged(self, further: Mapping[str, Sequence[str]]) -> Mapping[str, Sequence[str]]:
        """Return the further texts of a whole list of clips as they are to be read; unchanged by default."""
        return further


class PredictedStates(States):
    """States that a Llava predicts from the first frame and the instruction.

    An answer with another number of states is repaired: states are chosen evenly, an empty answer becomes the
    instruction. The result has the share of such clips as ``states_repaired``.

    Args:
        number: States per clip.
        prompt: Version of the text that asks for the states.

    Departures: the paper's model and prompt are not known.
    """

    aliases: ClassVar[tuple[str, ...]] = ("LLaVA", "MLLM", "predicted by LLaVA", "MLLM-assisted prompting")
    calls: ClassVar[tuple[str, ...]] = ("aid.state_kinds.PredictedStates.texts",)

    kind: Literal["llava"] = "llava"
    number: Number = 4
    prompt: PromptVersion = "v1"

    @property
    def reads(self) -> tuple[str, ...]:
        """The predicted states."""
        return (PREDICTED,)

    def predictor(self, llava: str) -> Predictor:
        """Return the Llava, and what it is asked."""
        return Predictor(model=llava, prompt=self.prompt, number=self.number)

    def texts(self, instructions: Sequence[str], further: Mapping[str, Sequence[str]]) -> list[list[str]]:
        """Take the predicted states."""
        from models.aid.states import from_parts

        return from_parts(further, PREDICTED, self.number)


class RepeatedInstruction(States):
    """The instruction, repeated for each state: as many tokens as with states, without their content.

    Args:
        number: States per clip.
    """

    aliases: ClassVar[tuple[str, ...]] = ("repeat the instruction", "instruction only", "without LLaVA states")
    calls: ClassVar[tuple[str, ...]] = ("aid.state_kinds.RepeatedInstruction.texts",)

    kind: Literal["repeat"] = "repeat"
    number: Number = 4

    def texts(self, instructions: Sequence[str], further: Mapping[str, Sequence[str]]) -> list[list[str]]:
        """Repeat the instructions."""
        from models.aid.states import repeated

        return repeated(instructions, self.number)

    def notes(self) -> tuple[str, ...]:
        """Note that copies do not change an attention."""
        return ("attention over copies of a text is attention over one: the number of states changes cost only",)


class FileStates(States):
    """States on file: one further text of the annotations for each state, ``state_1`` to ``state_4`` for four.

    Args:
        number: States per clip.
    """

    aliases: ClassVar[tuple[str, ...]] = ("states on file", "given states", "precomputed states")
    calls: ClassVar[tuple[str, ...]] = ("aid.state_kinds.FileStates.texts",)

    kind: Literal["file"] = "file"
    number: Number = 4

    @property
    def reads(self) -> tuple[str, ...]:
        """One further text for each state."""
        return tuple(f"state_{k}" for k in range(1, self.number + 1))

    def texts(self, instructions: Sequence[str], further: Mapping[str, Sequence[str]]) -> list[list[str]]:
        """Take the states from the annotations."""
        from models.aid.states import from_columns

        return from_columns(further, self.reads)


class OracleStates(States):
    """States written from the true future frames: the further text ``oracle``, which procedural clips have.

    Its parts, in the order of time, are separated by semicolons.

    Args:
        number: States per clip, chosen evenly from the parts; the last one is always the last.
    """

    aliases: ClassVar[tuple[str, ...]] = ("oracle states", "oracle captions", "captions of the true frames")
    calls: ClassVar[tuple[str, ...]] = ("aid.state_kinds.OracleStates.texts",)

    kind: Literal["oracle"] = "oracle"
    number: Number = 4

    @property
    def reads(self) -> tuple[str, ...]:
        """The further text ``oracle``."""
        return ("oracle",)

    def texts(self, instructions: Sequence[str], further: Mapping[str, Sequence[str]]) -> list[list[str]]:
        """Choose states from the description of the true frames."""
        from models.aid.states import from_parts

        return from_parts(further, self.reads[0], self.number)


class ShuffledStates(States):
    """States of another clip of the same list: separates their content from the capacity that they bring.

    Args:
        number: States per clip.
        of: Whose states are shuffled: those that a Llava predicts, those on file, or the oracle's.
        prompt: Version of the text that asks for the states.
    """

    aliases: ClassVar[tuple[str, ...]] = ("shuffled states", "wrong states", "random states")
    calls: ClassVar[tuple[str, ...]] = ("aid.states.deranged",)

    kind: Literal["shuffled"] = "shuffled"
    number: Number = 4
    of: Annotated[Literal["llava", "file", "oracle"], Field(description="whose states are shuffled")] = "llava"
    prompt: PromptVersion = "v1"

    @property
    def _shuffled(self) -> States:
        if self.of == "llava":
            return PredictedStates(number=self.number, prompt=self.prompt)
        return FileStates(number=self.number) if self.of == "file" else OracleStates(number=self.number)

    @property
    def reads(self) -> tuple[str, ...]:
        """The further texts whose states are shuffled."""
        return self._shuffled.reads

    def predictor(self, llava: str) -> Predictor | None:
        """Return the Llava whose states are shuffled."""
        return self._shuffled.predictor(llava)

    def texts(self, instructions: Sequence[str], further: Mapping[str, Sequence[str]]) -> list[list[str]]:
        """Take states from the shuffled texts."""
        from models.aid.states import from_columns, from_parts

        if self.of == "file":
            return from_columns(further, self.reads)
        return from_parts(further, self.reads[0], self.number)

    def arranged(self, further: Mapping[str, Sequence[str]]) -> Mapping[str, Sequence[str]]:
        """Give every clip all states of one other clip."""
        from models.aid.states import deranged

        return {**further, **{name: deranged(further[name]) for name in self.reads if name in further}}


class NoStates(States):
    """Removed: no states; the lower branch reads the instruction alone."""

    aliases: ClassVar[tuple[str, ...]] = ("without states", "no predicted states")
    given: ClassVar[bool] = False

    kind: Literal["removed"] = "removed"

    def texts(self, instructions: Sequence[str], further: Mapping[str, Sequence[str]]) -> list[list[str]]:
        """Return no states."""
        return []
