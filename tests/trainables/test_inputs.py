"""Further texts of a cell's clips: those that its system reads, as it reads them, for training and for sampling."""

from pathlib import Path

import torch

from models.aid import AID
from models.bases import Protocol
from models.bases.stable_video_diffusion import StableVideoDiffusion
from models.exvideo import ExVideo
from models.predictor import Predictor
from trainables.data import ShapesData
from trainables.data.layout import ClipSet
from trainables.evaluate import sample
from trainables.inputs import REPAIRED, continuable_clips, continued_clips, prompts, real_clips, training_clips
from trainables.predictions import Prediction
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
    assert set(continuable_clips(cell("oracle"), tmp_path).further) == {"oracle"}
    for spec in (cell("repeat"), cell(None, ExVideo)):
        assert continuable_clips(spec, tmp_path).further == {}
        assert training_clips(spec, tmp_path).further == {}
        assert continued_clips(spec, tmp_path).further == {}


def test_a_clip_s_states_speak_of_the_clip(tmp_path: Path) -> None:
    spec = cell("oracle")
    found = continued_clips(spec, tmp_path).further["oracle"]
    for text, states in zip(prompts(spec, tmp_path), found, strict=True):
        _, colour, shape, *motion = text.split()
        assert f"{colour} {shape} {' '.join(motion).split(',')[0]}" in states.split("; ")[0]


def test_shuffled_states_are_those_of_one_other_clip_everywhere(tmp_path: Path) -> None:
    own, other = cell("oracle"), cell({"kind": "shuffled", "of": "oracle"})
    for clips in (continuable_clips, training_clips):
        true, wrong = clips(own, tmp_path).further["oracle"], clips(other, tmp_path).further["oracle"]
        assert sorted(true) == sorted(wrong)
        assert list(true) != list(wrong)
    references = continuable_clips(other, tmp_path)
    given = dict(zip(references.texts, references.further["oracle"], strict=True))
    asked = prompts(other, tmp_path)
    assert continued_clips(other, tmp_path).further["oracle"] == [given[text] for text in asked], (
        "the same in every use"
    )


def test_states_reach_the_model_that_samples(tmp_path: Path) -> None:
    base, spec = StableVideoDiffusion.tiny(), cell("oracle")
    spec = spec.model_copy(
        update={"tree": AID.model_validate(spec.tree).edit({"injection.start": "default"}).model_dump(mode="json")}
    )
    texts, real = prompts(spec, tmp_path), real_clips(spec, tmp_path)
    further = continued_clips(spec, tmp_path).further
    one = sample(spec, base, texts, real, None, further).clips
    other = sample(spec, base, texts, real, None, {"oracle": ["nothing"] * 3}).clips
    assert one.shape == (3, 4, 32, 32, 3)
    assert not torch.equal(torch.from_numpy(one), torch.from_numpy(other))


def test_predicted_states_are_asked_for_once_for_all_clips_of_a_list(tmp_path: Path) -> None:
    asked: list[tuple[str, ...]] = []

    def predict(predictor: Predictor, clips: ClipSet) -> list[Prediction]:
        asked.append(tuple(clips.texts))
        return [Prediction(str(k), text, "", (f"{text} at last",), k == 1) for k, text in enumerate(clips.texts)]

    own = continued_clips(cell({"kind": "llava", "number": 1}), tmp_path, predict)
    assert own.further["predicted"] == [f"{text} at last" for text in own.texts]
    references = continuable_clips(cell("repeat"), tmp_path).texts
    assert asked == [tuple(references)], "of all reference clips, so that arms and seeds ask alike"
    assert [*own.labels[REPAIRED]] == [str(int(text == references[1])) for text in own.texts]
    other = continued_clips(cell({"kind": "shuffled", "number": 1}), tmp_path, predict)
    assert [*other.further["predicted"]] != [*own.further["predicted"]]
