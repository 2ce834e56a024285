"""Shared setting of a study's arms: base, data, protocol and metrics."""

from collections.abc import Iterator

from pydantic import TypeAdapter, ValidationError

from models import SYSTEMS
from models.bases import Card, Protocol
from sweeps.plan.bases import Named, locate, off_the_grid
from sweeps.plan.cells import Setting
from sweeps.plan.measured import measured
from sweeps.study import words
from sweeps.study.document import Key
from sweeps.study.fields import as_data
from sweeps.study.types import Study
from trainables.data import Data, ShapesData
from trainables.data.content import Content
from trainables.data.layout import ClipLayout
from trainables.data.prompts import PromptsData
from trainables.metrics import METRICS, NAMES, MetricFamily, MetricKey, resolve, width_of, with_companions


def setting_of(study: Study, wrong: list[tuple[Key, str]]) -> Setting | None:
    """Determine the arms' shared setting; None with the reasons added to ``wrong`` where it is undetermined."""
    ref, card = locate(Named(study.base, study.text_encoder), SYSTEMS.get(study.system), wrong)
    protocol = _protocol(study, card, wrong)
    if ref is None or card is None:
        wrong += _wrong_names(study)
        return None
    if protocol is not None:
        sizes = off_the_grid(study.base, ref, protocol)
        wrong += [(("protocol", key), message) for key, message in sizes.items()]
    data = _data(study, card, wrong)
    metrics, notes = _metrics(study, card, data, protocol, wrong)
    if data is None or protocol is None:
        return None
    return Setting(ref, card, data, protocol, metrics, notes, _content(data))


def _protocol(study: Study, card: Card | None, wrong: list[tuple[Key, str]]) -> Protocol | None:
    """Return the card's protocol, updated with the study's keys."""
    defaults = (card.protocol if card else Protocol()).model_dump()
    misfits = words.problems(Protocol, {**defaults, **study.protocol})
    wrong += [(("protocol", *place), message) for place, message in misfits]
    return None if misfits else Protocol.model_validate({**defaults, **study.protocol})


def _data(study: Study, card: Card, wrong: list[tuple[Key, str]]) -> Data | None:
    """Return the study's data, or the layout from the base's card."""
    if study.data is None:
        try:
            return TypeAdapter(Data).validate_python(as_data(card.data))
        except ValidationError:
            message = (
                f"base {study.base} has no data of its own -> data: shapes, or {{layout: prompts, prompts: [...]}}"
            )
            wrong.append((("data",), message))
            return None
    if isinstance(study.data, PromptsData):
        try:
            study.data.content(None, None)
        except ValueError as error:
            wrong.append((("data", "prompts"), str(error)))
    return study.data


def _content(data: Data) -> Content:
    """Return the content of data without clips on disk; empty for invalid data."""
    try:
        return data.content(None, None)
    except ValueError:
        return {}


def _wrong_names(study: Study) -> list[tuple[Key, str]]:
    """Find metrics that do not exist or are listed twice."""
    wrong: list[tuple[Key, str]] = []
    for place, name in enumerate(study.metrics):
        if name not in NAMES:
            wrong.append((("metrics", place), words.not_among(name, NAMES)))
        elif name in study.metrics[:place]:
            wrong.append((("metrics", place), f"{name} is listed twice -> only once"))
    return wrong


def _metrics(
    study: Study, card: Card, data: Data | None, protocol: Protocol | None, wrong: list[tuple[Key, str]]
) -> tuple[tuple[MetricKey, ...], tuple[str, ...]]:
    """Resolve the study's metrics and their companions with the networks of base and extractors."""
    wrong += _wrong_names(study)
    found = measured(study)
    families, notes = with_companions(found.families)
    metrics = []
    for name in families:
        family = METRICS[name]
        is_own = family.extractor is not None and getattr(study.extractors, family.extractor, None) is not None
        place: Key = ("metrics", found.places[name]) if name in found.places else ("metrics",)
        try:
            metric = resolve(name, card, study.extractors, study.base)
        except ValueError as error:
            wrong.append((("extractors", str(family.extractor)) if is_own else place, str(error)))
            continue
        metrics.append(metric)
        wrong += [(place, message) for message in _misfits(study, family, metric, data, protocol)]
    return tuple(metrics), (*found.notes, *notes)


def _misfits(
    study: Study, family: MetricFamily, metric: MetricKey, data: Data | None, protocol: Protocol | None
) -> Iterator[str]:
    """Find data, a system and a protocol that a metric cannot be measured on."""
    name = family.name
    if data is not None and family.needs_references and not isinstance(data, ClipLayout):
        yield f"{name} compares with reference clips, and data {data.layout} has none -> data with clips"
    if family.needs_continuation and study.system in SYSTEMS and not SYSTEMS[study.system].continues_clips:
        continuing = ", ".join(system.name for system in SYSTEMS.values() if system.continues_clips)
        yield (
            f"{name} compares with the true continuation, and {study.system} continues no clips -> a system that does "
            f"({continuing}), or another metric"
        )
    if (family.inside or family.needs_words) and data is not None and not isinstance(data, ShapesData):
        what = "prompts" if family.needs_words else "clips whose true frames are described"
        yield f"{name} needs {what} in known words -> data: shapes"
    if protocol is None:
        return
    if family.least_clips > protocol.clips:
        yield f"{name} needs at least {family.least_clips} clips, not {protocol.clips}"
    references = getattr(data, "references", None) if family.needs_references else None
    if references is not None and family.least_clips > references:
        yield f"{name} needs at least {family.least_clips} reference clips, not {references}"
    if family.clips_per_feature and (width := width_of(metric.extractor) if metric.extractor else None):
        yield from _too_few(family, width, protocol, data)
    if metric.least_frames > protocol.frames:
        yield f"{name} needs clips of at least {metric.least_frames} frames, not {protocol.frames}"
    if family.least_side > min(protocol.height, protocol.width):
        least, size = f"{family.least_side} x {family.least_side}", f"{protocol.height} x {protocol.width}"
        yield f"{name} needs frames of at least {least} pixels, not {size}"


def _too_few(family: MetricFamily, width: int, protocol: Protocol, data: Data | None) -> Iterator[str]:
    """Find too few clips or references for a measure whose network has so many features."""
    least, references = family.clips_per_feature * width, getattr(data, "references", None)
    reason = f"with fewer than {family.clips_per_feature} for each of {width} features the bias is not linear in 1/N"
    if least > protocol.clips:
        yield f"{family.name} needs at least {least} clips, not {protocol.clips}: {reason} -> more clips"
    if references is not None and least > references:
        yield f"{family.name} needs at least {least} reference clips, not {references}: {reason} -> more references"
