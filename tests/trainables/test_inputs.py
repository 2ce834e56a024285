"""Further texts of a cell's clips: those that its system reads, as it reads them, for training and for sampling."""

from pathlib import Path

import torch

from models.aid import AID
from models.bases import Protocol
from models.bases.stable_video_diffusion import StableVideoDiffusion
from models.exvideo import ExVideo
from trainables.data import ShapesData
from trainables.evaluate import sample
from trainables.inputs import further_texts, prompts, real_clips, reference_clips, training_clips
from trainables.trial_spec import TrialSpec

PROTOCOL = Protocol(clips=3, frames=4, steps=1, guidance=1.0, height=32, width=32)


def cell(states: object, system: type[AID] | type[ExVideo] = AID) -> TrialSpec:
    changes = {"training.clips": 6, "guidance": "removed", **({"states": states} if states else {})}
    return TrialSpec(
        study="s",
        arm="control",
        role="control",
        system=system.name,
        tree=system().edit(changes).model_dump(mode="json"),
        base="tiny",
        data=ShapesData(references=5, frames_per_motion=2),
        protocol=PROTOCOL,
        seed=1,
        metrics=(),
    )


def test_only_what_is_read_is_there(tmp_path: Path) -> None:
    assert set(reference_clips(cell("oracle"), tmp_path).further) == {"oracle"}
    for spec in (cell("repeat"), cell(None, ExVideo)):
        assert reference_clips(spec, tmp_path).further == {}
        assert training_clips(spec, tmp_path).further == {}
        assert further_texts(spec, tmp_path) == {}


def test_a_clip_s_states_speak_of_the_clip(tmp_path: Path) -> None:
    spec = cell("oracle")
    found = further_texts(spec, tmp_path)["oracle"]
    for text, states in zip(prompts(spec, tmp_path), found, strict=True):
        _, colour, shape, *motion = text.split()
        assert f"{colour} {shape} {' '.join(motion).split(',')[0]}" in states.split("; ")[0]


def test_shuffled_states_are_those_of_one_other_clip_everywhere(tmp_path: Path) -> None:
    own, other = cell("oracle"), cell("shuffled")
    for clips in (reference_clips, training_clips):
        true, wrong = clips(own, tmp_path).further["oracle"], clips(other, tmp_path).further["oracle"]
        assert sorted(true) == sorted(wrong)
        assert list(true) != list(wrong)
    references = reference_clips(other, tmp_path)
    given = dict(zip(references.texts, references.further["oracle"], strict=True))
    asked = prompts(other, tmp_path)
    assert further_texts(other, tmp_path)["oracle"] == [given[text] for text in asked], "the same in every use"


def test_states_reach_the_model_that_samples(tmp_path: Path) -> None:
    base, spec = StableVideoDiffusion.tiny(), cell("oracle")
    spec = spec.model_copy(
        update={"tree": AID.model_validate(spec.tree).edit({"injection.start": "default"}).model_dump(mode="json")}
    )
    texts, real = prompts(spec, tmp_path), real_clips(spec, tmp_path)
    further = further_texts(spec, tmp_path)
    one = sample(spec, base, texts, real, None, further).clips
    other = sample(spec, base, texts, real, None, {"oracle": ["nothing"] * 3}).clips
    assert one.shape == (3, 4, 32, 32, 3)
    assert not torch.equal(torch.from_numpy(one), torch.from_numpy(other))
