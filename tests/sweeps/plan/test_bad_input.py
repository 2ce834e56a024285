"""Every way to write a study wrong gets a clear answer: where, what was written, what is allowed."""

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

Problems = Callable[[str | bytes], list[tuple[int, str, str]]]

HEAD = """\
name: sound
system: zs2
base: shapes
metrics: [clip_score]
seeds: 2
"""
REMOVE_NOISE = "ablations:\n  - {part: noise, action: REMOVE}\n"
SOUND = HEAD + REMOVE_NOISE


def ablation(text: str) -> str:
    return f"{HEAD}ablations:\n  - {{{text}}}\n"


def search(text: str, metrics: str = "") -> str:
    """A study that searches mu, with one more line."""
    return f"{HEAD}search:\n  space: {{attention.mu: {{uniform: [0, 1]}}}}\n  {text}\n{metrics}"


def space(text: str) -> str:
    return f"{HEAD}search:\n  space:\n    {text}\n"


def changed(old: str, new: str) -> str:
    assert old in SOUND
    return SOUND.replace(old, new)


# ------------------------------------------------------------------------------------------------------- one mistake

ONE_MISTAKE = {
    "unknown key": (SOUND + "sedes: 3\n", 8, "sedes", "(did you mean seeds?)"),
    "unknown system": (changed("zs2", "zs3"), 2, "system", "zs3 -> zs2, seer, exvideo, aid (did you mean zs2?)"),
    "unknown base": (changed("shapes", "shape"), 3, "base", "(did you mean shapes?)"),
    "unknown metric": (changed("clip_score", "clip_scor"), 4, "metrics[0]", "(did you mean clip_score?)"),
    "metric twice": (changed("[clip_score]", "[clip_score, clip_score]"), 4, "metrics[1]", "listed twice"),
    "metrics a word": (changed("[clip_score]", "clip_score"), 4, "metrics", "clip_score -> a list"),
    "no metrics": (changed("[clip_score]", "[]"), 4, "metrics", "at least 1 entry"),
    "nothing as metrics": (changed(" [clip_score]", ""), 4, "metrics", "null -> a list"),
    "zero seeds": (changed("seeds: 2", "seeds: 0"), 5, "seeds", "0 -> a number of seeds from 1"),
    "a truth as seeds": (changed("seeds: 2", "seeds: true"), 5, "seeds", "true -> a number of seeds"),
    "words as seeds": (changed("seeds: 2", "seeds: two"), 5, "seeds", "two -> a number of seeds"),
    "a seed twice": (changed("seeds: 2", "seeds: [1, 1]"), 5, "seeds", "1 is listed twice"),
    "a negative seed": (changed("seeds: 2", "seeds: [0, -1]"), 5, "seeds", "whole numbers from 0"),
    "fractional seeds": (changed("seeds: 2", "seeds: 2.5"), 5, "seeds", "2.5 -> a number of seeds"),
    "no seeds": (changed("seeds: 2\n", ""), 1, "", "seeds is missing"),
    "name no folder": (changed("sound", "a/b"), 1, "name", "a/b -> a folder name"),
    "name with capitals": (changed("sound", "Sound"), 1, "name", "a folder name"),
    "name upwards": (changed("sound", ".."), 1, "name", "a folder name"),
    "a name that storage needs": (changed("sound", "references"), 1, "name", "another name"),
    "one and a half GPUs": (
        SOUND + "resources: {gpus_per_worker: 1.5}\n",
        8,
        "resources.gpus_per_worker",
        "1.5 -> a fraction of one GPU, or a whole number",
    ),
    "name a number": (changed("sound", "7"), 1, "name", "7 -> a string"),
    "a list for a map": (SOUND + "protocol: [1]\n", 8, "protocol", "[1] -> a map"),
    "a word for a map": (SOUND + "resources: many\n", 8, "resources", "many -> a map"),
    "unknown key inside": (SOUND + "protocol: {step: 3}\n", 8, "protocol.step", "(did you mean steps?)"),
    "protocol out of range": (SOUND + "protocol: {clips: 0}\n", 8, "protocol.clips", "0 -> at least 1"),
    "protocol wrong type": (SOUND + "protocol: {steps: many}\n", 8, "protocol.steps", "many -> a whole number"),
    "a size between latent cells": (SOUND + "protocol: {height: 33}\n", 8, "protocol.height", "33 -> a multiple of 4"),
    "fewer clips than a distance needs": (
        changed("[clip_score]", "[fvd]") + "protocol: {clips: 1}\n",
        4,
        "metrics[0]",
        "at least 2 clips, not 1",
    ),
    "unknown data": (SOUND + "data: shape\n", 8, "data", "(did you mean shapes?)"),
    "unknown key of data": (SOUND + "data: {layout: shapes, splt: test}\n", 8, "data.splt", "(did you mean split?)"),
    "prompts file missing": (SOUND + "data: {layout: prompts, prompts: nope.txt}\n", 8, "data.prompts", "nope.txt"),
    "unknown precision": (SOUND + "resources: {precision: fp8}\n", 8, "resources.precision", "fp8 -> auto, fp32"),
    "budget of zero": (SOUND + "budget: {gpu_hours: 0}\n", 8, "budget.gpu_hours", "0 -> above 0"),
    "budget below zero": (SOUND + "budget: {wall_clock: -1}\n", 8, "budget.wall_clock", "-1 -> above 0"),
    "money without a price": (SOUND + "budget: {money: 5}\n", 8, "budget.money", "also set price_per_gpu_hour"),
    "training of what is not trained": (SOUND + "training: {steps: 3}\n", 8, "training", "zs2 is not trained"),
    "workers for one process": (SOUND + "resources: {workers: 2}\n", 8, "resources.workers", "zs2 is not trained"),
    "fid without its network": (
        changed("[clip_score]", "[fid]").replace("base: shapes", "base: org/model\ndata: shapes"),
        5,
        "metrics[0]",
        "extractors: {inception:",
    ),
    "fid without references": (
        changed("[clip_score]", "[fid]") + "data: {layout: prompts, prompts: [a circle]}\n",
        4,
        "metrics[0]",
        "compares with reference clips",
    ),
    "control out of range": (SOUND + "control: {noise.threshold: 2}\n", 8, "control.noise.threshold", "sqrt(e)"),
    "control removes the ablated": (
        SOUND + "control: {noise: removed}\n",
        7,
        "ablations[0].action",
        "already removed in the control",
    ),
    # --- search
    "a search without space": (SOUND + "search: {}\n", 8, "search", "space is missing -> a map from a dotted path"),
    "a number as space": (SOUND + "search: {space: 3}\n", 8, "search.space", "3 -> a named space, or a map"),
    "an empty space": (SOUND + "search: {space: {}}\n", 8, "search.space", "{} -> at least 1 entry"),
    "an unknown space": (
        SOUND + "search: {space: zs2_moton}\n",
        8,
        "search.space",
        "zs2_moton -> zs2_motion, zs2_components, seer_training, exvideo_training, exvideo_low_rank, aid_training, "
        "aid_adapters, aid_guidance (did you mean",
    ),
    "a named space that does not fit": (
        SOUND + "control: {attention: removed}\nsearch: {space: zs2_motion}\n",
        9,
        "search.space",
        "zs2_motion searches attention.mu: not searchable in any arm: attention is removed here",
    ),
    "unknown key of a search": (search("sampler: tpe"), 8, "search.sampler", "search_sampler"),
    "unknown domain": (
        space("attention.mu: {unifrom: [0, 1]}"),
        8,
        "search.space.attention.mu",
        "{unifrom: [0, 1]} -> a domain: uniform, log_uniform, int_uniform, choice, kinds (did you mean uniform?)",
    ),
    "a list as domain": (space("attention.mu: [0, 1]"), 8, "search.space.attention.mu", "such as {uniform: [0, 1]}"),
    "a domain upside down": (
        space("attention.mu: {uniform: [1, 0]}"),
        8,
        "search.space.attention.mu",
        "uniform: [low, high], two numbers: low must be below high, got 1 and 0",
    ),
    "a log domain from 0": (
        space("noise.threshold: {log_uniform: [0, 1]}"),
        8,
        "search.space.noise.threshold",
        "two numbers above 0",
    ),
    "a path to nothing": (
        space("atention.mu: {uniform: [0, 1]}"),
        8,
        "search.space.atention.mu",
        "(did you mean attention?)",
    ),
    "a value that no kind has": (
        space("attention.nu: {uniform: [0, 1]}"),
        8,
        "search.space.attention.nu",
        "nu -> a value of attention: mu (did you mean mu?)",
    ),
    "a path through a value": (
        space("attention.mu.x: {uniform: [0, 1]}"),
        8,
        "search.space.attention.mu.x",
        "attention.mu is a plain value",
    ),
    "a kind searched as a value": (
        space("attention.kind: {choice: [momentum, removed]}"),
        8,
        "search.space.attention.kind",
        "kinds are searched at their slot -> attention: {kinds: [momentum, ",
    ),
    "a range at a slot": (
        space("attention: {uniform: [0, 1]}"),
        8,
        "search.space.attention",
        "{uniform: [0.0, 1.0]} -> {kinds: [momentum, previous_frame, cross_frame, removed]} or a subset",
    ),
    "kinds at a value": (
        space("attention.mu: {kinds: [momentum, removed]}"),
        8,
        "search.space.attention.mu",
        "{kinds: [momentum, removed]} -> uniform, log_uniform, int_uniform or choice",
    ),
    "an unknown kind searched": (
        space("attention: {kinds: [momentum, crossframe]}"),
        8,
        "search.space.attention",
        "crossframe -> momentum, previous_frame, cross_frame, removed (did you mean cross_frame?)",
    ),
    "a range of fractions for whole numbers": (
        space("noise.candidates: {uniform: [1, 20]}"),
        8,
        "search.space.noise.candidates",
        "{uniform: [1.0, 20.0]} -> {int_uniform: [low, high]}",
    ),
    "whole numbers out of range": (
        space("noise.candidates: {int_uniform: [0, 20]}"),
        8,
        "search.space.noise.candidates",
        "0 -> a whole number, at least 1",
    ),
    "a range beyond mu": (
        space("attention.mu: {uniform: [0, 1.5]}"),
        8,
        "search.space.attention.mu",
        "1.5 -> a number from 0 to 1: weight of the previous frames",
    ),
    "a range beyond sqrt(e), with the reason": (
        space("noise.threshold: {log_uniform: [0.001, 2]}"),
        8,
        "search.space.noise.threshold",
        "2 -> a number from 0 to 1.64872: divergence of each frame's noise",
    ),
    "a choice out of range": (
        space("attention.mu: {choice: [0.5, much]}"),
        8,
        "search.space.attention.mu",
        '"much" -> a number from 0 to 1',
    ),
    "a range beyond what a kind that may be drawn allows": (
        HEAD + "search:\n  space: {noise: {kinds: [mixed, removed]}, noise.a: {uniform: [-1, 1]}}\n",
        7,
        "search.space.noise.a",
        "-1 -> a number, at least 0",
    ),
    "a value that no arm has": (
        space("noise.a: {uniform: [0, 20]}"),
        8,
        "search.space.noise.a",
        "not searchable in any arm: noise is two_stage here, which has no a",
    ),
    "a value that no searched kind has": (
        HEAD + "search:\n  space: {noise: {kinds: [shared, removed]}, noise.a: {uniform: [0, 1]}}\n",
        7,
        "search.space.noise.a",
        "not searchable in any arm: none of the kinds searched at noise has it",
    ),
    "unknown search_sampler": (
        search("search_sampler: grid"),
        8,
        "search.search_sampler",
        "grid -> tpe, nsga2, random",
    ),
    "no trials": (search("trials_per_arm: 0"), 8, "search.trials_per_arm", "0 -> at least 1"),
    "an objective that is not measured": (
        search("objectives: [clip_score, fid]"),
        8,
        "search.objectives[1]",
        "fid -> one of the study's metrics: clip_score, or add it to them",
    ),
    "an unknown objective": (
        search("objectives: {clip_scor: max}"),
        8,
        "search.objectives.clip_scor",
        "clip_scor -> one of the study's metrics: clip_score (did you mean clip_score?)",
    ),
    "an objective in no direction": (
        search("objectives: {clip_score: up}"),
        8,
        "search.objectives.clip_score",
        "up -> max, min",
    ),
    "an objective twice": (
        search("objectives: [clip_score, clip_score]"),
        8,
        "search.objectives",
        "clip_score is listed twice",
    ),
    "a word as objectives": (
        search("objectives: clip_score"),
        8,
        "search.objectives",
        "clip_score -> a list of metrics, or a map from a metric to max or min",
    ),
    "no objectives": (search("objectives: []"), 8, "search.objectives", "[] -> at least 1 entry"),
    "a point outside the space": (
        search("points: [{noise.threshold: 0.1}]"),
        8,
        "search.points[0].noise.threshold",
        "noise.threshold -> attention.mu",
    ),
    "a point out of range": (
        search("points: [{attention.mu: 0}, {attention.mu: 2}]"),
        8,
        "search.points[1].attention.mu",
        "2 -> {uniform: [0.0, 1.0]}",
    ),
    "a truth in a point": (search("points: [{attention.mu: true}]"), 8, "search.points[0].attention.mu", "true -> {"),
    "an empty point": (search("points: [{}]"), 8, "search.points[0]", "{} -> at least 1 entry"),
    "a point that contradicts itself": (
        HEAD + "search:\n  space: {attention: {kinds: [momentum, removed]}, attention.mu: {uniform: [0, 1]}}\n"
        "  points: [{attention: removed, attention.mu: 0.5}]\n",
        8,
        "search.points[0].attention.mu",
        "attention is removed in this point, which has no mu -> remove attention.mu",
    ),
    "more points than trials": (
        search("points: [{attention.mu: 0}, {attention.mu: 1}]\n  trials_per_arm: 1"),
        8,
        "search.points",
        "2 points with 1 trials_per_arm",
    ),
    "a negative search seed": (search("seed: -1"), 8, "search.seed", "-1 -> at least 0"),
    "an unknown trial_scheduler": (
        search("trial_scheduler: {kind: ahsa}"),
        8,
        "search.trial_scheduler",
        "ahsa -> asha, median (did you mean asha?)",
    ),
    "a trial_scheduler without kind": (
        search("trial_scheduler: {grace: 1}"),
        8,
        "search.trial_scheduler",
        "{grace: 1} -> a map with the key 'kind'",
    ),
    "an unknown key of a trial_scheduler": (
        search("trial_scheduler: {kind: median, factor: 3}"),
        8,
        "search.trial_scheduler.factor",
        "unknown key -> kind, grace",
    ),
    "more winners than trials": (
        search("confirm: {top: 17}"),
        8,
        "search.confirm.top",
        "17 -> at most trials_per_arm, 16",
    ),
    "no arm differs, but for a search": (
        search("seed: 1", "ablations: [{part: attention.mu, action: VALUES, values: [0.98]}]\n"),
        9,
        "ablations",
        "no arm differs from the control",
    ),
    "more trials than can be worked through": (
        search(
            "trials_per_arm: 10000",
            f"arms: {{{', '.join(f'x{i}: {{noise.candidates: {i}}}' for i in range(1, 12))}}}\n",
        ),
        6,
        "search",
        "110,000 trials and confirmations -> at most 100,000",
    ),
    "a margin of nothing": (SOUND + "margins: {clip_score: 0}\n", 8, "margins.clip_score", "0 -> above 0"),
    "a margin of what is not measured": (
        SOUND + "margins: {fid: 1}\n",
        8,
        "margins.fid",
        "fid -> one of the study's metrics: clip_score, or add it to them",
    ),
    # --- ablations
    "unknown slot": (ablation("part: atention, action: REMOVE"), 7, "ablations[0].part", "(did you mean attention?)"),
    "unknown kind": (
        ablation("part: attention, action: REPLACE, with: [crossframe]"),
        7,
        "ablations[0].with[0]",
        "(did you mean cross_frame?)",
    ),
    "unknown action": (
        ablation("part: attention, action: remove"),
        7,
        "ablations[0].action",
        "remove -> REMOVE, REPLACE, VALUES, ADD (did you mean REMOVE?)",
    ),
    "no part": (ablation("action: REMOVE"), 7, "ablations[0]", "part is missing"),
    "REMOVE of a value": (ablation("part: attention.mu, action: REMOVE"), 7, "ablations[0].part", "not a slot"),
    "REPLACE of a value": (
        ablation("part: attention.mu, action: REPLACE, with: [x]"),
        7,
        "ablations[0].part",
        "VALUES",
    ),
    "ADD of a value": (ablation("part: attention.mu, action: ADD, with: [x]"), 7, "ablations[0].part", "not a slot"),
    "ADD of what is there": (
        ablation("part: noise, action: ADD, with: [shared]"),
        7,
        "ablations[0].action",
        "noise is two_stage in the control, not removed -> REPLACE",
    ),
    "REPLACE without with": (
        ablation("part: noise, action: REPLACE"),
        7,
        "ablations[0]",
        "REPLACE without with -> with: a list of kinds (random_search, analytic",
    ),
    "REPLACE with a word": (
        ablation("part: noise, action: REPLACE, with: shared"),
        7,
        "ablations[0].with",
        "shared -> a list of kinds, or a map of arms",
    ),
    "REMOVE with with": (
        ablation("part: noise, action: REMOVE, with: [shared]"),
        7,
        "ablations[0].with",
        "REMOVE takes no with",
    ),
    "REPLACE with values": (
        ablation("part: noise, action: REPLACE, with: [shared], values: [1]"),
        7,
        "ablations[0].values",
        "REPLACE takes no values",
    ),
    "VALUES without values": (ablation("part: attention.mu, action: VALUES"), 7, "ablations[0]", "VALUES without"),
    "VALUES of a slot": (
        ablation("part: attention, action: VALUES, values: [1]"),
        7,
        "ablations[0].part",
        "attention is a slot",
    ),
    "VALUES of nothing": (
        ablation("part: attention.nu, action: VALUES, values: [1, 2]"),
        7,
        "ablations[0].part",
        "a value of attention=momentum: mu",
    ),
    "VALUES through a value": (
        ablation("part: attention.mu.x, action: VALUES, values: [1]"),
        7,
        "ablations[0].part",
        "attention.mu is a plain value",
    ),
    "mu above 1": (
        ablation("part: attention.mu, action: VALUES, values: [0.5, 1.5]"),
        7,
        "ablations[0].values[1]",
        "1.5 -> a number from 0 to 1",
    ),
    "mu below 0": (
        ablation("part: attention.mu, action: VALUES, values: [-0.1]"),
        7,
        "ablations[0].values[0]",
        "a number from 0 to 1",
    ),
    "a word as mu": (
        ablation("part: attention.mu, action: VALUES, values: [much]"),
        7,
        "ablations[0].values[0]",
        "a number from 0 to 1",
    ),
    "a truth as mu": (
        ablation("part: attention.mu, action: VALUES, values: [true]"),
        7,
        "ablations[0].values[0]",
        "true -> a number from 0 to 1",
    ),
    "a value twice": (
        ablation("part: attention.mu, action: VALUES, values: [0.5, 0.5]"),
        7,
        "ablations[0].values",
        "0.5 is listed twice",
    ),
    "lambda above sqrt(e), with the reason": (
        ablation("part: noise.threshold, action: VALUES, values: [1.7]"),
        7,
        "ablations[0].values[0]",
        "independent noise",
    ),
    "an edit out of range": (
        HEAD + "ablations:\n  - part: noise\n    action: REPLACE\n    with:\n      a: {kind: shared}\n"
        "      b:\n        kind: analytic\n        threshold: 3\n",
        13,
        "ablations[0].with.b.threshold",
        "3 -> a number from 0 to 1.64872",
    ),
    "an edit of a value that is not there": (
        ablation("part: noise, action: REPLACE, with: {a: {treshold: 1}}"),
        7,
        "ablations[0].with.a.treshold",
        "(did you mean threshold?)",
    ),
    "an edit that is a number": (
        ablation("part: noise, action: REPLACE, with: {a: 3}"),
        7,
        "ablations[0].with.a",
        "3 -> a kind (a string), or a map of values",
    ),
    "an arm named like a path": (
        ablation("part: noise, action: REPLACE, with: {a/b: shared}"),
        7,
        "ablations[0].with.a/b",
        "an arm's name",
    ),
    "a word as ablation": (HEAD + "ablations: [noise]\n", 6, "ablations[0]", "noise -> a map"),
    # --- arms
    "a value in a removed part": (
        HEAD + "arms:\n  x: {noise: removed, noise.threshold: 0.1}\n",
        7,
        "arms.x.noise.threshold",
        "noise=removed has no values",
    ),
    "an arm without changes": (HEAD + "arms:\n  x: {}\n", 7, "arms.x", "{} -> at least 1 entry"),
    "an arm named control": (HEAD + "arms:\n  control: {noise: removed}\n", 7, "arms.control", "another name"),
    "an arm's name twice": (
        SOUND + "arms:\n  noise=removed: {noise: shared}\n",
        9,
        "arms.noise=removed",
        "is also the arm on line 7 -> another name",
    ),
    "no arm differs": (
        ablation("part: attention.mu, action: VALUES, values: [0.98]"),
        6,
        "ablations",
        "no arm differs from the control",
    ),
    "no arm at all": (HEAD, 1, "", "no arm differs from the control"),
    "no arm yet": (HEAD + "todo: [{asked: which arms}]\n", 6, "todo[0]", "which arms -> settle it in this study"),
    # --- profiles
    "profiles a list": (SOUND + "profiles: [full]\n", 8, "profiles", "[full] -> a map of profiles"),
    "a profile that is a word": (SOUND + "profiles: {full: big}\n", 8, "profiles.full", "big -> a map"),
    "a profile that renames": (SOUND + "profiles: {full: {name: x}}\n", 8, "profiles.full.name", "cannot change name"),
    "a mistake in a profile": (
        SOUND + "profiles:\n  full:\n    protocol: {clips: 0}\n",
        10,
        "profiles.full.protocol.clips",
        "0 -> at least 1",
    ),
    # --- YAML
    "a key twice": (SOUND + "seeds: 3\n", 8, "seeds", "duplicate key, first on line 5"),
    "a tag": (SOUND + "question: !!python/name:os.getcwd x\n", 8, "", "the tag !!python/name"),
    "a string tag": (changed("seeds: 2", "seeds: !!int 2"), 5, "", "the tag !!int"),
    "a merge key": (SOUND + "protocol: {<<: {clips: 2}}\n", 8, "protocol", "the merge key <<"),
    "an infinite number": (SOUND + "protocol: {guidance: .inf}\n", 8, "protocol.guidance", ".inf -> a finite number"),
    "a number too large": (SOUND + "protocol: {guidance: 1e999}\n", 8, "protocol.guidance", "a finite number"),
    "a list as key": (SOUND + "? [a]\n: b\n", 8, "", "as a key -> a string"),
    "half a character": (SOUND + 'question: "\\ud800"\n', 8, "question", "surrogate"),
}


@pytest.mark.parametrize("case", ONE_MISTAKE)
def test_one_mistake_is_one_problem_at_its_place(case: str, problems: Problems) -> None:
    text, line, path, message = ONE_MISTAKE[case]
    found = problems(text)
    assert [place[:2] for place in found] == [(line, path)], found
    assert message in found[0][2]
    assert not re.search(r"Input should|type=|pydantic|\n", found[0][2]), "plain words"


def test_the_sound_study_is_sound(problems: Problems) -> None:
    assert problems(SOUND) == []


# -------------------------------------------------------------------------------------------------- no study at all

BOMB = b"a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n" + b"".join(
    b"a%d: &a%d [%s]\n" % (i, i, b", ".join([b"*a%d" % (i - 1)] * 10)) for i in range(1, 60)
)
NO_STUDY = {
    "empty": (b"", 1, "the file is empty"),
    "only a comment": (b"# nothing\n", 1, "the file is empty"),
    "a list": (b"- a\n- b\n", 1, "a list -> a map"),
    "a word": (b"study", 1, "a string -> a map"),
    "tabs": (b"name: x\nprotocol:\n\tclips: 2\n", 3, "a tab -> indent with spaces"),
    "latin-1": ("name: x\nquestion: caf\xe9\n".encode("latin-1"), 2, "not UTF-8"),
    "UTF-16": (SOUND.encode("utf-16"), 1, "not UTF-8"),
    "a control character": (b"name: x\nquestion: \x07\n", 2, "a control character"),
    "more than 1 MB": (b"#" * 1_000_001, 1, "larger than 1 MB"),
    "10,001 nodes": (b"a:\n" + b"- 1\n" * 9_998, 9_999, "more than 10,000 nodes"),
    "ten to the sixty nodes after aliases": (BOMB, 4, "more than 10,000 nodes"),
    "an alias inside itself": (b"a: &a [*a]\n", 1, "cannot contain itself"),
    "an alias of nothing": (b"a: *b\n", 1, "an alias without its anchor"),
    "brackets without end": (b"[" * 900_000, 1, "nested deeper than"),
    "aliases nested without end": (
        b"a0: &a0 [1]\n" + b"".join(b"a%d: &a%d [*a%d]\n" % (i, i, i - 1) for i in range(1, 100)),
        39,
        "nested deeper than",
    ),
    "two documents": (b"a: 1\n---\nb: 2\n", 2, "a second document"),
    "a colon too many": (b"a: b: c\n", 1, "an unexpected colon"),
    "an open bracket": (b"a: [1, 2\nb: 3\n", 2, "not closed"),
    "an open quote": (b'a: "x\nb: 3\n', 2, "inside quotes"),
    "crooked indentation": (b"a:\n  b: 1\n c: 2\n", 3, "the indentation does not match"),
    "a character beyond Unicode": (b'a: "\\UFFFFFFFF"\n', 1, "not YAML"),
}


@pytest.mark.parametrize("case", NO_STUDY)
def test_what_is_no_study_is_refused_at_once(case: str, problems: Problems) -> None:
    content, line, message = NO_STUDY[case]
    started = time.perf_counter()
    found = problems(content)
    assert time.perf_counter() - started < 10
    assert [place[0] for place in found] == [line], found
    assert message in found[0][2]


def test_every_line_with_a_tab_is_named(problems: Problems) -> None:
    found = problems("a:\n\tb: 1\n\tc: 2\n# a comment\twith a tab\n")
    assert [place[0] for place in found] == [2, 3]


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    from sweeps.plan import load
    from sweeps.study.document import SpecError

    with pytest.raises(SpecError, match="cannot be read: No such file"):
        load(tmp_path / "nothing.yaml")
    with pytest.raises(SpecError, match="cannot be read: Is a directory"):
        load(tmp_path)


def test_ten_thousand_nodes_are_taken(problems: Problems) -> None:
    found = problems(b"a:\n" + b"- 1\n" * 9_997)
    assert not any("nodes" in message for _, _, message in found)


# ------------------------------------------------------------------------------------------------------ many mistakes

SIDE_BY_SIDE = """\
name: sound
system: zs2
base: shapes
metrics: [clip_score]
seeds: 2
extractors: {foo: 1, clip: 2}
ablations:
  - {part: attention.mu, action: VALUES, values: [3], hypothesis: 3}
  - {part: noise, action: REPLACE, with: [foo], extra: 1}
"""


def test_one_mistake_hides_none_beside_it(problems: Problems) -> None:
    assert [place[:2] for place in problems(SIDE_BY_SIDE)] == [
        (6, "extractors.clip"),
        (6, "extractors.foo"),
        (8, "ablations[0].hypothesis"),
        (8, "ablations[0].values[0]"),
        (9, "ablations[1].extra"),
        (9, "ablations[1].with[0]"),
    ]


MANY = """\
name: Bad Name
system: zs2
base: shapes
metrics: [clip_scor, temporal_consistency]
seeds: 0
protocol: {clips: 0, steps: few}
control: {noise.treshold: 0.1}
ablations:
  - {part: noise, action: REMOVE}
  - {part: atention, action: REMOVE}
  - part: noise
    action: REPLACE
    with:
      a: {kind: analytic, threshold: 2}
      b/c: shared
      d: 3
  - {part: noise}
  - {part: attention.mu, action: VALUES, values: [2, 0.5, [1]]}
arms:
  x: {noise: removed, noise.threshold: 0.1}
  y: {}
seeds: 3
profiles:
  full:
    base: shape
    resources: {max_concurrent: 0}
"""


def test_all_mistakes_are_reported_together_in_the_order_of_lines(problems: Problems) -> None:
    found = problems(MANY)
    assert [place[:2] for place in found] == [
        (1, "name"),
        (4, "metrics[0]"),
        (5, "seeds"),
        (6, "protocol.clips"),
        (6, "protocol.steps"),
        (7, "control.noise.treshold"),
        (10, "ablations[1].part"),
        (14, "ablations[2].with.a.threshold"),
        (15, "ablations[2].with.b/c"),
        (16, "ablations[2].with.d"),
        (17, "ablations[3]"),
        (18, "ablations[4].values[2]"),
        (18, "ablations[4].values[0]"),
        (20, "arms.x.noise.threshold"),
        (21, "arms.y"),
        (22, "seeds"),
        (25, "profiles.full.base"),
        (26, "profiles.full.resources.max_concurrent"),
    ]


def test_a_mistake_is_not_repeated_for_every_profile(problems: Problems) -> None:
    text = SOUND.replace("seeds: 2", "seeds: 0") + "profiles: {a: {question: x}, b: {question: y}}\n"
    assert [place[:2] for place in problems(text)] == [(5, "seeds")]


def test_an_incomplete_base_folder_lists_what_it_lacks(tmp_path: Path, problems: Problems) -> None:
    base = tmp_path / "base"
    (base / "unet").mkdir(parents=True)
    (base / "model_index.json").write_text("{}")
    (base / "unet" / "config.json").write_text(json.dumps({"sample_size": 8}))
    found = problems(SOUND.replace("base: shapes", f"base: {base}\ndata: shapes\nextractors: {{clip: org/clip}}"))
    assert [place[:2] for place in found] == [(3, "base")]
    assert "lacks vae/config.json, text_encoder/config.json" in found[0][2]
    assert "unet/*.safetensors" in found[0][2]
    assert "model_index.json" not in found[0][2]


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("unet/config.json", "{", "a configuration file that is not JSON"),
        ("card.json", "{}", "card.json is invalid at name"),
    ],
)
def test_a_base_with_a_broken_file(file: str, content: str, message: str, tmp_path: Path, problems: Problems) -> None:
    (tmp_path / "base" / "unet").mkdir(parents=True)
    (tmp_path / "base" / file).write_text(content)
    found = problems(SOUND.replace("base: shapes", f"base: {tmp_path / 'base'}"))
    assert [place[:2] for place in found] == [(3, "base")]
    assert message in found[0][2]


# ----------------------------------------------------------------------------------------------- at the command line


@pytest.mark.parametrize("command", ["check", "plan", "run", "report"])
def test_the_command_line_refuses_with_code_2_and_no_traceback(command: str, tmp_path: Path) -> None:
    study = tmp_path / "study.yaml"
    study.write_text(MANY)
    done = subprocess.run(
        [sys.executable, "-m", "sweeps", command, str(study)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert len(lines) == 18
    assert all(line.startswith(f"{study}:") for line in lines)
    assert max(map(len, lines)) > 120, "long lines are not wrapped"
