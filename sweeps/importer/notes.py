"""Questions from the sentences of a note on a paper, which names no parts and actions as a plan does.

A few words decide: "with and without X" removes X, "32 or 64 frames" are blocks, "other methods" are arms of other
systems. Parts and metrics are matched by their aliases, as in plans. What stays open becomes a ``todo``.
"""

import os
import re
import typing
from collections.abc import Iterator, Sequence

from pydantic.fields import FieldInfo

from models import SYSTEMS
from models.bases import find_base, read_card
from models.system import System
from sweeps.importer.meaning import Lexicon, Target, lexicon, matches, occurs_in, words_of
from sweeps.importer.questions import Question, Source, add_remarks, common_name, metric_names, question_of, remove_each
from trainables.data import ClipsData
from trainables.data.layout import CATEGORY
from trainables.grouping import MOTION
from trainables.metrics import GROUPS, METRICS

MEASURE = "MEASURE"
"""Action of a question that is not named by the parts that it removes."""

_WITHOUT = re.compile(
    r"\b(?:with (?:and|or|versus) without|before and after|without|removing|ablating|contributions? of)\s+",
    re.IGNORECASE,
)
_END_OF_SENTENCE = re.compile(r"[.?!](?=\s|$)")
_END_OF_PHRASE = re.compile(r"[(),;:]| (?:on|in|of|for|to|with|by) ")
_FRAMES = re.compile(r"(?<![\d.])((?:\d{1,4}(?:,| or| and|, or|, and) ){0,9}\d{1,4})[ -]frames?\b", re.IGNORECASE)
_SUBSET = re.compile(r"\b(?:videos?|clips?) with ([a-z][a-z -]*)", re.IGNORECASE)
_DATASET = re.compile(r"\b(?:the|of|on|in) ((?:[A-Z][\w-]* )+)datasets?\b")
_CATEGORIES = tuple(
    map(words_of, ("content type", "type of content", "type of video content", "category", "categories"))
)
_METHODS = tuple(map(words_of, ("baseline", "other method", "existing method", "state of the art")))


def question_of_note(source: Source, system: str) -> Question:
    """Convert an entry of a note to a question; what it leaves open becomes open decisions.

    Args:
        source: An entry with a text.
        system: Name of a system.
    """
    text, names = source.suggestion.text, lexicon(SYSTEMS[system])
    found = matches(words_of(text), metric_names(system))
    metrics = [name for name in (*METRICS, *GROUPS) if name in found]
    question = Question(system, "", MEASURE, sources=[source], metrics=metrics)  # named below
    removed = _remove(question, text, names)
    _blocks(question, text, names.system)
    _groups(question, text)
    _open_values(question, text, names)
    methods = not question.changes and _other_methods(question, text)
    if not (question.metrics or question.todos or question.changes or question.topic):
        unread = question_of(source, system)
        unread.wording = text
        return unread
    _name(question, removed)
    if not question.changes and not methods:
        question.open("which arms", "no part to change is named -> ablations, or arms")
    question.remarks += _datasets(text)
    add_remarks(question, names)
    return question


# ----------------------------------------------------------------------------------------------------- what is changed


def _remove(question: Question, text: str, names: Lexicon) -> str:
    """Remove all parts that a text compares with and without.

    Returns:
        The phrase that names the first of them; empty without one.
    """
    named = []
    for phrase in dict.fromkeys(_compared(text)):
        meaning, short = names.part(phrase), _END_OF_PHRASE.split(phrase)[0].strip()
        if not meaning.targets:
            question.open(f"REMOVE {short}", meaning.reason, meaning.candidates)
        else:
            removed = {ablation["part"] for ablation in question.ablations}
            remove_each(question, [target for target in meaning.targets if target.slot not in removed], names)
            named.append(short)
    return named[0] if named else ""


def _compared(text: str) -> Iterator[str]:
    """Yield what follows each "with and without", up to the next one or the end of the sentence."""
    for sentence in _END_OF_SENTENCE.split(text):
        yield from filter(None, map(str.strip, _WITHOUT.split(sentence)[1:]))


def _other_methods(question: Question, text: str) -> bool:
    """Add an open decision if a text compares with other methods; return whether it does."""
    words = words_of(text)
    if not any(occurs_in(alias, words) for alias in _METHODS):
        return False
    own = SYSTEMS[question.system]
    # Other systems are asked other prompts, so their clips cannot be in one table.
    comparable = {name: system for name, system in SYSTEMS.items() if system.continues_clips == own.continues_clips}
    others = {name: lexicon(system).aliases for name, system in comparable.items() if system is not own}
    named = [name for name, aliases in others.items() if any(occurs_in(alias, words) for alias in aliases)]
    such = f", such as {', '.join(named or others)}" if others else ""
    question.open("which other methods", f"{', '.join(named) or 'none'} named -> arms with their own system{such}")
    if not question.topic and not _inside(question):
        question.topic, question.wording = "baselines", f"How does {question.system} compare with other methods?"
    return True


def _open_values(question: Question, text: str, names: Lexicon) -> None:
    """Leave open which model, or other value in words, a part has that is measured itself, if the text speaks of it."""
    for target in names.named(text) if _inside(question) else ():
        info = _field(target, names.system)
        if info is not None and info.annotation is str:
            question.open(f"which {target.path}", f"to choose -> {info.description}")


def _field(target: Target, system: type[System]) -> FieldInfo | None:
    """Return the field of a value of a part, or of the system; None for a slot."""
    if target.kind:
        return system.slots()[target.slot].kinds[target.kind].model_fields[target.value]
    return system.model_fields[target.value] if target.value else None


# --------------------------------------------------------------------------------------------------- blocks and groups


def _blocks(question: Question, text: str, system: type[System]) -> None:
    """Add a block for each length that a text names, if there are several.

    The lengths are the text's own, also on a base for shorter clips: which of its lengths stand for them is not said.
    """
    lengths = sorted({int(number) for listed in _FRAMES.findall(text) for number in re.findall(r"\d+", listed)})
    if len(lengths) < 2:
        return
    least, most = max(2, system().given_frames + 1), system().most_frames or lengths[-1]
    for frames in lengths:
        if least <= frames <= most:
            question.blocks[f"{frames}_frames"] = {"protocol": {"frames": frames}}
        else:
            question.open(f"{frames} frames", f"{system.name} samples {least} to {most}")
    base = system.family.default_base
    own = read_card(find_base(base, system.family)).protocol.frames
    question.remarks.append(f"the lengths are the note's; {base} has clips of {own} frames")
    in_words = f"{', '.join(map(str, lengths[:-1]))} and {lengths[-1]}"
    question.topic, question.wording = "length", f"How does {system.name} do on clips of {in_words} frames?"


def _groups(question: Question, text: str) -> None:
    """Group the clips by category, or leave the rule of a subset open."""
    words, about = words_of(text), ""
    if any(occurs_in(alias, words) for alias in _CATEGORIES) and SYSTEMS[question.system].continues_clips:
        question.by, about = CATEGORY, "categories"
        wording = f"How does {question.system} do on each category of clips?"
    elif subset := _SUBSET.search(text):
        about = _END_OF_PHRASE.split(subset[1])[0].strip()
        wording = f"How does {question.system} do on clips with {about}?"
        rule = f"no rule is given -> by: subsets, by a column of the annotations or {MOTION}"
        question.open(f"which clips have {about}", rule)
    if about and not question.topic:
        question.topic, question.wording = about, wording


def _datasets(text: str) -> list[str]:
    """Remark on the datasets that a text names, since a draft has the clips of its base."""
    layouts = typing.get_args(ClipsData.model_fields["layout"].annotation)
    remarks = []
    for name in dict.fromkeys(match.strip() for match in _DATASET.findall(text)):
        letters = "".join(words_of(name))
        own = [f" -> data: {{layout: {layout}, path: ...}}" for layout in layouts if letters.startswith(layout)]
        remarks.append(f"asked of {name}, here of the base's clips{''.join(own[:1])}")
    return remarks


# ---------------------------------------------------------------------------------------------------------------- names


def _inside(question: Question) -> list[str]:
    """Return the question's metrics that read the model itself instead of clips."""
    return [name for name in question.metrics if name in METRICS and METRICS[name].inside]


def _name(question: Question, removed: str) -> None:
    """Name a question by what it measures inside the model, else by what it removes, else by its metrics."""
    inside = _inside(question)
    parts = list(dict.fromkeys(ablation["part"] for ablation in question.ablations))
    measured = " and ".join(question.metrics).replace("_", " ")
    if not question.topic:
        question.action = "REMOVE" if parts and not inside else MEASURE
        question.topic = _common_start(inside) or common_name(parts) or measured or question.sources[0].suggestion.name
    if removed and not question.wording:
        question.wording = f"What does {removed} contribute{f' to {measured}' if measured else ''}?"
    elif measured and not question.wording:
        question.wording = f"What is the {measured} of {question.system}?"
    question.wording = question.wording or question.sources[0].suggestion.text


def _common_start(metrics: Sequence[str]) -> str:
    """Return the words that the names of metrics begin with: ``condition`` for ``condition_frame, condition_phase``."""
    return "_".join(os.path.commonprefix([name.split("_") for name in metrics]))  # of lists as well as of strings
