"""Renders ``docs/inputs.md`` from the tables of inputs."""

from collections.abc import Iterable, Sequence
from textwrap import fill

from tests.inputs import bases, clips, extractors, further, layouts, texts, videos, weights
from tests.inputs.cases import Case, Table

INTRODUCTION = """\
# Inputs

What is read of the data, bases and networks that a study names, and what is refused, with which message. The keys of a
study file are on [their own page](studies.md); how data is split and drawn, and how bases and metrics are used, is on
[Bases, metrics and data](bases_and_metrics.md).

This page is made from the tables of the tests: every row is tested. `...` in a message stands for text that depends on
the input, `DATA` for the folder that the study names. All problems of a file are reported together, each with its line.
"""
VIDEOS = """\
Frame k of a video is the k-th one in order of presentation, in every file of these tables, whether frames are chosen by
number, by stretch or by time. decord reads files whose time stamps prove that it finds the right frames, PyAV all
others; see [Frames by presentation time](bases_and_metrics.md#frames-by-presentation-time)."""
CODECS = {
    "libx264": "H.264",
    "libx265": "HEVC",
    "mpeg4": "MPEG-4",
    "mpeg2video": "MPEG-2",
    "mpeg1video": "MPEG-1",
    "libvpx": "VP8",
    "libvpx-vp9": "VP9",
    "libsvtav1": "AV1",
    "mjpeg": "Motion JPEG",
    "prores": "ProRes",
    "ffv1": "FFV1",
    "png": "PNG",
    "gif": "GIF",
    "dnxhd": "DNxHR",
    "rawvideo": "uncompressed",
    "h263": "H.263",
    "h263p": "H.263+",
    "huffyuv": "HuffYUV",
    "wmv1": "WMV 7",
    "wmv2": "WMV 8",
    "flv": "Sorenson Spark",
    "cfhd": "CineForm",
}
CHAPTERS: dict[str, dict[str, Table]] = {
    "Text files": {"PROMPTS": texts.PROMPTS, "CSV": texts.CSV, "JSON_LINES": texts.JSON_LINES},
    "Data layouts": {
        "SSV2": layouts.SSV2,
        "BRIDGE": layouts.BRIDGE,
        "EPIC": layouts.EPIC,
        "UCF101": layouts.UCF101,
        "CAPTIONS": further.CAPTIONS,
        "FURTHER": further.FURTHER,
    },
    "Clips": {"CLIPS": clips.CLIPS},
    "Bases": {
        "STABLE_DIFFUSION": bases.STABLE_DIFFUSION,
        "STABLE_VIDEO_DIFFUSION": bases.STABLE_VIDEO_DIFFUSION,
        "TOKENIZER_FILES": weights.TOKENIZER_FILES,
        "WEIGHT_FILES": weights.WEIGHT_FILES,
    },
    "Networks of metrics": {
        "CLIP": extractors.CLIP,
        "DINO": extractors.DINO,
        "TORCHSCRIPT": extractors.TORCHSCRIPT,
        "AESTHETIC": extractors.AESTHETIC,
    },
}
"""Chapters of the page; each table by the name of its variable."""


def page() -> str:
    """The whole page."""
    parts = [INTRODUCTION]
    for chapter, tables in CHAPTERS.items():
        parts.append(f"## {chapter}\n")
        parts += [
            section(table.title, table.about, ("You have", "Result"), map(row, table.cases))
            for table in tables.values()
        ]
        if chapter == "Clips":
            parts.append(
                section("Containers and codecs of videos", VIDEOS, ("File", "By decord", "By PyAV"), containers())
            )
            parts.append(section("Special forms of videos", "", ("Form", "By decord", "By PyAV"), forms()))
    return "\n".join(parts)


def section(title: str, about: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [
        f"### {title}",
        "",
        *([fill(about, 120, break_on_hyphens=False), ""] if about else []),
        cells(head),
        cells(["---"] * len(head)),
    ]
    return "\n".join([*lines, *map(cells, rows), ""])


def cells(values: Sequence[str]) -> str:
    return f"| {' | '.join(value.replace('|', chr(92) + '|') for value in values)} |"


def row(case: Case) -> tuple[str, str]:
    """What the user has, and what becomes of it."""
    if case.refused:
        return case.given, f"Refused: {code(case.refused)}"
    if not case.note:
        return case.given, f"Read: {code(case.read)}"
    if case.note.startswith("As "):
        return case.given, f"Read {case.note[0].lower()}{case.note[1:]}"
    return case.given, case.note


def code(lines: Iterable[str]) -> str:
    return "<br>".join(f"`{line}`" for line in lines)


def containers() -> Iterable[tuple[str, str, str]]:
    for ending, codecs in videos.WRITTEN.items():
        names = {codec: CODECS.get(codec, codec) for codec in codecs.split()}
        proven = [name for codec, name in names.items() if (ending, codec) in videos.PROVEN]
        others = [name for codec, name in names.items() if (ending, codec) not in videos.PROVEN]
        yield f"`.{ending}`", ", ".join(proven), ", ".join(others)


def forms() -> Iterable[tuple[str, str, str]]:
    for given in dict.fromkeys(form.given for form in videos.FORMS):
        same = [form for form in videos.FORMS if form.given == given]
        endings = (
            ", ".join(dict.fromkeys(f"`.{form.ending}`" for form in same if form.decoder == decoder))
            for decoder in ("decord", "pyav")
        )
        yield given, *endings
