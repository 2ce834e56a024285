"""What a phrase of a plan means in a system: by the aliases that stand beside its slots, kinds and values.

A phrase means something where an alias stands in it word for word, spelling evened out. Nothing is guessed: where no
alias does, or several that mean different things, the nearest are handed back with their scores.
"""

import difflib
import functools
import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from models.system import Part, System, aliases_of
from sweeps.study.fields import REMOVED

Words = tuple[str, ...]

MOST_CANDIDATES = 3
_SPLIT = re.compile(
    r"\(.*?\)|[,;:]| (?:in|of|for|within|inside|from|on|to|used|that|which|with|by|when|where|during|as) ",
    re.IGNORECASE,
)
# fmt: off
_EMPTY = frozenset({
    "a", "an", "the", "and", "or", "both", "all", "any", "each", "its", "their", "our", "this", "proposed",
    "existing", "main", "key", "core", "whole", "overall", "effect", "impact", "role", "importance",
    "influence", "contribution", "contributions", "use", "usage", "choice", "type", "kind", "form", "number",
    "amount", "size", "removal", "ablation", "module", "layer", "block", "component", "part", "mechanism",
    "algorithm", "method", "model", "approach", "strategy", "technique", "design", "parameter", "value",
    "hyperparameter", "setting", "effectiveness", "necessity", "benefit",
})
# fmt: on
"""Words that say nothing of which part is meant."""
_COMPONENTS = ("main component", "key component", "core component", "component", "main module", "key module")


@dataclass(frozen=True)
class Target:
    """What can be ablated: a slot, a value of a kind in it, or a value of the system itself.

    Args:
        slot: The slot; empty for a value of the system.
        value: The value; empty for a slot.
        kind: The kind that has the value.
    """

    slot: str
    value: str = ""
    kind: str = ""

    @property
    def path(self) -> str:
        """Dotted, as a study writes it."""
        return ".".join(filter(None, (self.slot, self.value)))


@dataclass(frozen=True)
class Meaning:
    """What came of a phrase.

    Args:
        targets: One; several where the phrase names several together; none where it is not known.
        candidates: The nearest there are, with how near they are, in [0, 1].
        reason: Why there is no target.
    """

    targets: tuple[Target, ...] = ()
    candidates: dict[str, float] = field(default_factory=dict)
    reason: str = ""


# --------------------------------------------------------------------------------------------------------------- words


@functools.lru_cache(maxsize=20_000)
def words_of(phrase: str) -> Words:
    """The words of a phrase: small letters, Greek ones spelt out, no hyphens, no plurals.

    >>> words_of("ZS^2's KL-divergence thresholds λ")
    ('zs2', 'kl', 'divergence', 'threshold', 'lambda')
    """
    text = unicodedata.normalize("NFKC", phrase).casefold().replace("^", "").replace("'s ", " ")
    spelt = "".join(_letter(letter) for letter in text)
    return tuple(_singular(word) for word in re.findall(r"[^\W_]+", spelt))


def _letter(letter: str) -> str:
    if letter.isascii():
        return letter
    name = unicodedata.name(letter, "")
    greek = re.fullmatch(r"GREEK SMALL (?:LETTER )?(?:FINAL )?(\w+)(?: SYMBOL)?", name)
    if not greek:
        return letter
    return f" {greek[1].lower().replace('lamda', 'lambda')} "


def _singular(word: str) -> str:
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")) else word


def _where(alias: Words, words: Words) -> Iterator[int]:
    """Where an alias stands in a phrase."""
    for start in range(len(words) - len(alias) + 1):
        if words[start : start + len(alias)] == alias:
            yield start


def stands_in(alias: Words, words: Words) -> bool:
    """Whether an alias stands in a phrase."""
    return any(True for _ in _where(alias, words))


def found_in(words: Words, lexicon: Iterable[tuple[Words, str]]) -> dict[str, Words]:
    """What the aliases in a phrase mean, with the longest alias of each; one inside a longer one does not count."""
    spans = [
        (start, start + len(alias), meaning, alias)
        for alias, meaning in lexicon
        if alias
        for start in _where(alias, words)
    ]
    outer = [
        span
        for span in spans
        if not any(o[0] <= span[0] and span[1] <= o[1] and o[1] - o[0] > span[1] - span[0] for o in spans)
    ]
    found: dict[str, Words] = {}
    for _, _, meaning, alias in sorted(outer, key=lambda span: len(span[3])):
        found[meaning] = alias
    return found


def nearest(words: Words, lexicon: Iterable[tuple[Words, str]]) -> dict[str, float]:
    """The meanings whose aliases are most like a phrase, nearest first."""
    text = " ".join(words)
    scores: dict[str, float] = {}
    for alias, meaning in lexicon:
        score = difflib.SequenceMatcher(None, text, " ".join(alias)).ratio()
        scores[meaning] = max(scores.get(meaning, 0.0), round(score, 2))
    return dict(sorted(scores.items(), key=lambda item: -item[1])[:MOST_CANDIDATES])


# --------------------------------------------------------------------------------------------------- a system's lexicon


class Lexicon:
    """The aliases of one system.

    Args:
        system: Which.
    """

    def __init__(self, system: type[System]) -> None:
        self.system = system
        self._targets: dict[str, Target] = {}
        self._parts: list[tuple[Words, str]] = []
        self._kinds: dict[str, list[tuple[Words, str]]] = {}
        slots = system.slots()
        for name, info in system.model_fields.items():
            self._add(Target(name) if name in slots else Target("", name), aliases_of(info))
        for slot in slots.values():
            kinds = [slot.default.kind, *(kind for kind in slot.kinds if kind != slot.default.kind)]
            for kind in kinds:
                self._add_values(slot.name, kind, slot.kinds[kind])
            self._kinds[slot.name] = [
                (words_of(alias), kind)
                for kind, part in slot.kinds.items()
                for alias in (*part.aliases, *([] if kind == REMOVED else [kind]))
            ]

    def _add(self, target: Target, aliases: Iterable[str]) -> None:
        self._targets[target.path] = target
        self._parts += [(words_of(alias), target.path) for alias in aliases]

    def _add_values(self, slot: str, kind: str, part: type[Part]) -> None:
        """The values of a kind; one that another kind has under the same name is that one's, the default's first."""
        for name, info in part.model_fields.items():
            if name != "kind" and f"{slot}.{name}" not in self._targets:
                self._add(Target(slot, name, kind), aliases_of(info))

    @property
    def aliases(self) -> Iterable[Words]:
        """What the system itself is called."""
        return [words_of(alias) for alias in (self.system.name, *self.system.aliases)]

    def part(self, phrase: str) -> Meaning:
        """What of the system a phrase is about: its first words that mean anything decide."""
        path = phrase.strip().casefold()
        if path in self._targets:
            return Meaning((self._targets[path],))
        for segment in _segments(phrase):
            found = found_in(segment, self._parts)
            if found:
                return self._one_of(found, segment)
            if self._are_components(segment):
                return Meaning(tuple(Target(slot) for slot in self.system.components))
            if set(segment) - _EMPTY and segment not in self.aliases:
                near = nearest(segment, self._parts)
                return Meaning(candidates=near, reason=f"no slot or value of {self.system.name} is called so")
        return Meaning(
            candidates=nearest(words_of(phrase), self._parts), reason="none of its words says which part it means"
        )

    def _one_of(self, found: dict[str, Words], segment: Words) -> Meaning:
        targets = [self._targets[path] for path in found]
        if len(targets) == 1:
            return Meaning((targets[0],))
        values = [target for target in targets if target.value]
        slots = [target for target in targets if not target.value]
        # "threshold of the noise model" in one breath: the value, if it is that slot's.
        inner = [value for value in values if all(slot.slot == value.slot for slot in slots)]
        if len(inner) == 1:
            return Meaning((inner[0],))
        if not values and "and" in segment:
            return Meaning(tuple(sorted(slots, key=lambda slot: list(_where(found[slot.path], segment)))))
        scores = {path: round(len(alias) / len(segment), 2) for path, alias in found.items()}
        return Meaning(candidates=scores, reason="it names several")

    @staticmethod
    def _are_components(segment: Words) -> bool:
        text = " ".join(word for word in segment if word not in ("all", "the", "of", "its", "each", "two", "both"))
        return text in _COMPONENTS

    def kinds(self, slot: str, phrase: str) -> dict[str, Words]:
        """The kinds of a slot that a phrase names, with the aliases by which it does."""
        return found_in(words_of(phrase), self._kinds[slot])

    def near_kinds(self, slot: str, phrase: str) -> dict[str, float]:
        """The nearest kinds."""
        return nearest(words_of(phrase), self._kinds[slot])

    def value_of(self, slot: str, kind: str, name: str) -> str | None:
        """The value of a kind that a word means, by its alias or its own name; None where there is none such."""
        fields = self.system.slots()[slot].kinds[kind].model_fields
        wanted = words_of(name)
        for field_name, info in fields.items():
            if field_name != "kind" and wanted in [words_of(alias) for alias in (field_name, *aliases_of(info))]:
                return field_name
        return None


def _segments(phrase: str) -> Iterator[Words]:
    """The pieces of a phrase between its prepositions and commas, each as words; parentheses come last."""
    inside = re.findall(r"\((.*?)\)", phrase)
    for piece in [*_SPLIT.split(f" {phrase} "), *inside]:
        if words := words_of(piece):
            yield words


@functools.cache
def lexicon(system: type[System]) -> Lexicon:
    """The aliases of a system, read once."""
    return Lexicon(system)
