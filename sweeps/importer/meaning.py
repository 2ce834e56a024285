"""Matching of a plan's phrases with the slots, kinds and values of a system, by their aliases.

A phrase matches if it contains an alias word for word, after normalisation of the spelling. Nothing is guessed: where
no alias matches, or aliases of several targets do, the nearest candidates are returned with their scores.
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

MAX_CANDIDATES = 3
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
"""Words that do not help to identify a part."""
_EACH = frozenset({"each", "every", "all"})
_COMPONENTS = ("main component", "key component", "core component", "component", "main module", "key module")


@dataclass(frozen=True)
class Target:
    """Target of an ablation: a slot, a value of a kind in it, or a value of the system itself.

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
        """Dotted path, as in a study file."""
        return ".".join(filter(None, (self.slot, self.value)))


@dataclass(frozen=True)
class Meaning:
    """Interpretation of a phrase.

    Args:
        targets: One target; several where the phrase names several together; none where it was not understood.
        candidates: Nearest candidates with their similarity in [0, 1].
        reason: Why it was not understood.
    """

    targets: tuple[Target, ...] = ()
    candidates: dict[str, float] = field(default_factory=dict)
    reason: str = ""


# --------------------------------------------------------------------------------------------------------------- words


@functools.lru_cache(maxsize=20_000)
def words_of(phrase: str) -> Words:
    """Normalise a phrase to words: lower case, Greek letters spelt out, no hyphens, no plurals.

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


def _positions(alias: Words, words: Words) -> Iterator[int]:
    """Yield the positions of an alias in a phrase."""
    if alias and alias[0] not in words:  # most aliases, so that a long sentence takes little time
        return
    for start in range(len(words) - len(alias) + 1):
        if words[start : start + len(alias)] == alias:
            yield start


def occurs_in(alias: Words, words: Words) -> bool:
    """Whether an alias occurs in a phrase."""
    return any(True for _ in _positions(alias, words))


def matches(words: Words, lexicon: Iterable[tuple[Words, str]]) -> dict[str, Words]:
    """Map the meanings of the aliases in a phrase to their longest alias; aliases inside longer ones do not count."""
    spans = [
        (start, start + len(alias), meaning, alias)
        for alias, meaning in lexicon
        if alias
        for start in _positions(alias, words)
    ]
    outer = [
        span
        for span in spans
        if not any(o[0] <= span[0] and span[1] <= o[1] and o[1] - o[0] > span[1] - span[0] for o in spans)
    ]
    longest: dict[str, Words] = {}
    for _, _, meaning, alias in sorted(outer, key=lambda span: len(span[3])):
        longest[meaning] = alias
    return longest


def nearest(words: Words, lexicon: Iterable[tuple[Words, str]]) -> dict[str, float]:
    """Return the meanings whose aliases are most similar to a phrase, nearest first."""
    text = " ".join(words)
    scores: dict[str, float] = {}
    for alias, meaning in lexicon:
        score = difflib.SequenceMatcher(None, text, " ".join(alias)).ratio()
        scores[meaning] = max(scores.get(meaning, 0.0), round(score, 2))
    return dict(sorted(scores.items(), key=lambda item: -item[1])[:MAX_CANDIDATES])


# --------------------------------------------------------------------------------------------------- a system's lexicon


class Lexicon:
    """Aliases of a system's slots, kinds and values.

    Args:
        system: The system.
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
        """Add the values of a kind; a name that several kinds share belongs to the first, the default kind first."""
        for name, info in part.model_fields.items():
            if name != "kind" and f"{slot}.{name}" not in self._targets:
                self._add(Target(slot, name, kind), aliases_of(info))

    @property
    def aliases(self) -> Iterable[Words]:
        """Names of the system itself."""
        return [words_of(alias) for alias in (self.system.name, *self.system.aliases)]

    def named(self, text: str) -> tuple[Target, ...]:
        """Return all slots and values whose aliases occur in a text."""
        return tuple(self._targets[path] for path in matches(words_of(text), self._parts))

    def part(self, phrase: str) -> Meaning:
        """Find the slots or values that a phrase names; its first words that match decide."""
        path = phrase.strip().casefold()
        if path in self._targets:
            return Meaning((self._targets[path],))
        for segment in _segments(phrase):
            found = matches(segment, self._parts)
            if found:
                return self._meaning(found, segment)
            if self._are_components(segment):
                return Meaning(tuple(Target(slot) for slot in self.system.components))
            if alike := self._alike(segment, phrase):
                return Meaning(alike)
            if set(segment) - _EMPTY and segment not in self.aliases:
                near = nearest(segment, self._parts)
                return Meaning(candidates=near, reason=f"no slot or value of {self.system.name} matches")
        return Meaning(candidates=nearest(words_of(phrase), self._parts), reason="no part is named")

    def _meaning(self, found: dict[str, Words], segment: Words) -> Meaning:
        targets = [self._targets[path] for path in found]
        if len(targets) == 1:
            return Meaning((targets[0],))
        values = [target for target in targets if target.value]
        slots = [target for target in targets if not target.value]
        # "threshold of the noise model": the value, if it belongs to that slot.
        inner = [value for value in values if all(slot.slot == value.slot for slot in slots)]
        if len(inner) == 1:
            return Meaning((inner[0],))
        if not values and "and" in segment:
            return Meaning(tuple(sorted(slots, key=lambda slot: list(_positions(found[slot.path], segment)))))
        scores = {path: round(len(alias) / len(segment), 2) for path, alias in found.items()}
        return Meaning(candidates=scores, reason="several parts match")

    def _alike(self, segment: Words, phrase: str) -> tuple[Target, ...]:
        """Return the parts of "each adapter type": slots whose names end alike; of these, the ones in parentheses."""
        nouns = [word for word in segment if word not in _EMPTY | _EACH]
        if len(nouns) != 1 or _EACH.isdisjoint(segment):
            return ()
        slots = [name for name, slot in self.system.slots().items() if slot.default.kind != REMOVED]
        alike = [name for name in slots if words_of(name.replace("_", " "))[-1] == nouns[0]]
        inside = [part for part in re.findall(r"\((.*?)\)", phrase) if not part.lower().startswith(("e.g", "such as"))]
        items = [f"{item} {nouns[0]}" for part in inside for item in re.split(r",|\band\b", part)]
        listed = {target.path for item in items for target in self.named(item)}
        chosen = [name for name in alike if name in listed] or alike
        return tuple(map(Target, chosen)) if len(alike) > 1 else ()

    @staticmethod
    def _are_components(segment: Words) -> bool:
        text = " ".join(word for word in segment if word not in ("all", "the", "of", "its", "each", "two", "both"))
        return text in _COMPONENTS

    def kinds(self, slot: str, phrase: str) -> dict[str, Words]:
        """Map the kinds of a slot that a phrase names to the aliases in it."""
        return matches(words_of(phrase), self._kinds[slot])

    def near_kinds(self, slot: str, phrase: str) -> dict[str, float]:
        """Return the most similar kinds of a slot."""
        return nearest(words_of(phrase), self._kinds[slot])

    def value_of(self, slot: str, kind: str, name: str) -> str | None:
        """Return the value of a kind with this alias or name; None without one."""
        fields = self.system.slots()[slot].kinds[kind].model_fields
        wanted = words_of(name)
        for field_name, info in fields.items():
            if field_name != "kind" and wanted in [words_of(alias) for alias in (field_name, *aliases_of(info))]:
                return field_name
        return None


def _segments(phrase: str) -> Iterator[Words]:
    """Split a phrase at prepositions and commas into words; parentheses come last."""
    inside = re.findall(r"\((.*?)\)", phrase)
    for piece in [*_SPLIT.split(f" {phrase} "), *inside]:
        if words := words_of(piece):
            yield words


@functools.cache
def lexicon(system: type[System]) -> Lexicon:
    """Return the cached aliases of a system."""
    return Lexicon(system)
