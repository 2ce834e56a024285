"""The small Llava of procedural clips: untrained networks, training, saving, quality.

It is trained to list the states of a clip from its first frame and its instruction.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel
from tokenizers import Regex, Tokenizer, normalizers, pre_tokenizers
from tokenizers.models import WordLevel
from torch import nn
from torch.nn import functional as F
from transformers import (
    CLIPImageProcessorPil,
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
)

from models.aid.llava import PROMPTS, Llava, question, split_answer
from models.aid.states import evenly
from models.backbones import num_parameters
from trainables.data.scenes import ATTRIBUTES, CANVAS, COLOURS, SHAPES, Split, attributes_of
from trainables.data.shapes import render, scene_of, states_of
from trainables.pretraining.card import figure_rows, rounded, time_rows, with_times
from trainables.pretraining.fitting import Clock, begin, fit
from trainables.pretraining.networks import caption_words
from trainables.pretraining.saving import IMAGE_PROCESSOR, replaced, save_half, write_json

VERSION = "v1"
NUMBERS = (1, 2, 4, 8)
FORMS: tuple[tuple[int, int | None], ...] = ((8, None), (8, 8), (16, 8), (32, 8), (8, 4))
"""Frames of a clip, and frames of each motion, of the clips that it is trained on."""

TRAINING_CLIPS = 32_768
HELD_OUT_CLIPS = 512
STEPS = {"vision": 3000, "llava": 1600}
BATCH = {"vision": 128, "llava": 64}

_PATCH = 8
_SPECIAL = ("<pad>", "<s>", "</s>", "<unk>", "<image>")
_CHAT = (
    "{% for message in messages %}{{ message['role'] }}: {% for part in message['content'] %}"
    "{{ '<image>' if part['type'] == 'image' else part['text'] }} {% endfor %}"
    "{% endfor %}{% if add_generation_prompt %}assistant:{% endif %}"
)


class Quality(BaseModel):
    """Shares of right words in the predicted states of held-out clips; every state of a clip counts."""

    size: float
    colour: float
    shape: float
    motion: float
    right_number: float
    """Share of clips with the number of states asked for."""
    clips: int


def build_tokenizer() -> PreTrainedTokenizerFast:
    """Build a tokenizer with one token per word of captions and prompts."""
    asked = question(VERSION, "", 0).replace("0", "")
    words = {*caption_words(), *map(str, NUMBERS), "user", "assistant", ",", ".", ":", ";", "\n"}
    words |= {word for word, _ in _pieces().pre_tokenize_str(asked.lower())}
    vocabulary = {word: index for index, word in enumerate((*_SPECIAL, *sorted(words)))}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = _pieces()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        additional_special_tokens=["<image>"],
        clean_up_tokenization_spaces=False,
    )


def _pieces() -> Any:
    """Split into words, marks and line ends."""
    return pre_tokenizers.Split(Regex(r"\n|[,.;:]|[^\s,.;:]+"), behavior="removed", invert=True)


def build_llava() -> Llava:
    """Build an untrained model, initialised from torch's current generator."""
    tokenizer = build_tokenizer()
    vision = CLIPVisionConfig(
        hidden_size=64,
        intermediate_size=192,
        num_hidden_layers=3,
        num_attention_heads=4,
        image_size=CANVAS,
        patch_size=_PATCH,
        projection_dim=64,
    )
    text = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=192,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=512,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        tie_word_embeddings=False,
    )
    config = LlavaConfig(
        vision_config=vision,
        text_config=text,
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        vision_feature_layer=-1,
        vision_feature_select_strategy="default",
        image_seq_length=(CANVAS // _PATCH) ** 2,
    )
    processor = LlavaProcessor(
        image_processor=CLIPImageProcessorPil(
            **{k: v for k, v in IMAGE_PROCESSOR.items() if k != "image_processor_type"}
        ),
        tokenizer=tokenizer,
        patch_size=_PATCH,
        vision_feature_select_strategy="default",
        chat_template=_CHAT,
        num_additional_image_tokens=1,
    )
    return Llava(LlavaForConditionalGeneration(config), processor)


@dataclass(frozen=True)
class Examples:
    """Clips that a Llava is asked about.

    Args:
        images: First frames.
        instructions: One per clip.
        states: Eight states of each clip, from its true frames.
        radius: Radius of the shape in the first frame, in world units.

    Shape:
        images (n h w 3) uint8.
    """

    images: NDArray[np.uint8]
    instructions: Sequence[str]
    states: Sequence[Sequence[str]]
    radius: Sequence[float]

    @classmethod
    def of(cls, split: Split, seed: int, clips: int) -> "Examples":
        """Draw scenes of every length and pace in turn."""
        scenes = []
        for index in range(clips):
            frames, pace = FORMS[index % len(FORMS)]
            scenes.append((scene_of(split, index, seed, frames=frames, frames_per_motion=pace), frames))
        return cls(
            np.stack([render(scene, frames=1)[0] for scene, _ in scenes]),
            [scene.caption() for scene, _ in scenes],
            [states_of(scene, frames) for scene, frames in scenes],
            [scene.radius for scene, _ in scenes],
        )

    def __len__(self) -> int:
        return len(self.images)


def train_vision(
    llava: Llava, examples: Examples, *, steps: int, batch: int, rng: torch.Generator, clock: Clock
) -> None:
    """Train the vision tower to tell radius, colour and shape from the mean of its patches.

    The instruction names colour and shape, so the answers alone hardly teach the tower to see. (Without this stage 64 %
    of the sizes are right.)
    """
    tower, processor = llava.model.model.vision_tower, llava.processor.image_processor
    pixels = processor(list(examples.images), return_tensors="pt")["pixel_values"]
    known = [attributes_of(text) for text in examples.instructions]
    named = {"colour": tuple(COLOURS), "shape": SHAPES}
    labels = {
        name: torch.tensor([words.index(str(said[[*ATTRIBUTES].index(name)])) for said in known])
        for name, words in named.items()
    }
    radius = torch.tensor(examples.radius)
    radius = (radius - radius.mean()) / radius.std()
    dim = tower.config.hidden_size
    heads = nn.ModuleDict({"radius": nn.Linear(dim, 1), **{name: nn.Linear(dim, len(named[name])) for name in named}})

    def loss(step: int) -> torch.Tensor:
        clip = torch.randint(len(examples), (batch,), generator=rng)
        seen = tower(pixels[clip], output_hidden_states=True).hidden_states[-1][:, 1:].mean(dim=1)
        value = F.mse_loss(heads["radius"](seen)[:, 0], radius[clip])
        for name, numbers in labels.items():
            value = value + F.cross_entropy(heads[name](seen), numbers[clip])
        return value

    fit(nn.ModuleList([tower, heads]), loss, steps=steps, lr=2e-3, clock=clock, ema=0.995)


def train_llava(
    llava: Llava, examples: Examples, *, steps: int, batch: int, rng: torch.Generator, clock: Clock
) -> None:
    """Train all but the vision tower on the words of the answer; the number of states is drawn for each clip."""
    tokenizer = llava.processor.tokenizer
    tokenizer.padding_side = "right"

    def loss(step: int) -> torch.Tensor:
        clip = torch.randint(len(examples), (batch,), generator=rng).tolist()
        numbers = [NUMBERS[n] for n in torch.randint(len(NUMBERS), (batch,), generator=rng).tolist()]
        asked = [
            llava.chat(question(VERSION, examples.instructions[k], number))
            for k, number in zip(clip, numbers, strict=True)
        ]
        answers = [
            " \n ".join(evenly(examples.states[k], number)) + " </s>" for k, number in zip(clip, numbers, strict=True)
        ]
        texts = [f"{question} {answer}" for question, answer in zip(asked, answers, strict=True)]
        images = list(examples.images[clip])
        inputs = llava.processor(images=images, text=texts, padding=True, return_tensors="pt")
        lengths = torch.tensor([len(ids) for ids in tokenizer(answers)["input_ids"]])
        ends, place = inputs["attention_mask"].sum(dim=1), torch.arange(inputs["input_ids"].shape[1])
        said = (place >= (ends - lengths)[:, None]) & (place < ends[:, None])
        value: torch.Tensor = llava.model(**inputs, labels=inputs["input_ids"].where(said, -100)).loss
        return value

    llava.model.model.vision_tower.requires_grad_(False)
    trained = [parameter for parameter in llava.model.parameters() if parameter.requires_grad]
    fit(llava.model, loss, steps=steps, lr=3e-3, clock=clock, ema=0.995, parameters=trained)
    tokenizer.padding_side = "left"


def measure(llava: Llava, examples: Examples, number: int = 8) -> Quality:
    """Compare predicted states with those of the true frames."""
    answers = llava.answers(examples.images, examples.instructions, number, prompt=VERSION)
    states = [split_answer(answer) for answer in answers]
    right = [
        [said == true for said, true in zip(attributes_of(one), attributes_of(other), strict=True)]
        for of_clip, true_of_clip in zip(states, examples.states, strict=True)
        for one, other in zip(evenly(of_clip or [""], number), evenly(true_of_clip, number), strict=True)
    ]
    shares = np.mean(right, axis=0)
    return Quality(
        **dict(zip(ATTRIBUTES, shares.tolist(), strict=True)),
        right_number=float(np.mean([len(said) == number for said in states])),
        clips=len(examples),
    )


def pretrain_llava(out: Path, *, fraction: float = 1.0, seed: int = 0, threads: int | None = None) -> Quality:
    """Train the Llava, and write it with its card to a folder.

    Args:
        out: Folder of the model.
        fraction: Fraction of the full training steps and clips, in (0, 1].
        seed: Seed of scenes, initial weights and batches.
        threads: CPU threads; all by default.
    """
    begin(fraction, seed, threads)
    clock = Clock({"clips": 20.0, "vision": 150.0, "llava": 400.0, "quality": 10.0})
    clock.start("clips")
    training = Examples.of("train", seed, max(64, round(TRAINING_CLIPS * fraction)))
    held_out = Examples.of("test", seed, max(16, round(HELD_OUT_CLIPS * fraction)))
    clock.stop(f"{len(training)} + {len(held_out)} clips")
    llava = build_llava()
    steps = {stage: max(1, round(number * fraction)) for stage, number in STEPS.items()}
    for number, (stage, train) in enumerate((("vision", train_vision), ("llava", train_llava))):
        clock.start(stage)
        rng = torch.Generator().manual_seed(1000 * (seed + 1) + number)
        train(llava, training, steps=steps[stage], batch=BATCH[stage], rng=rng, clock=clock)
        clock.stop()
    with replaced(out) as part:
        save_half(llava.model, part)
        llava.processor.save_pretrained(part)
        clock.start("quality")
        saved = Llava.load(part, device=torch.device("cpu"), dtype=torch.float32)
        quality = measure(saved, held_out)
        clock.stop()
        record = {
            "command": " ".join(["python -m trainables.pretrain", *sys.argv[1:]]),
            "seed": seed,
            "fraction": fraction,
            "training_clips": len(training),
            "held_out_clips": len(held_out),
            "threads": torch.get_num_threads(),
            "steps": steps,
            "batch": BATCH,
        }
        write_llava_card(part, quality, with_times(record, clock), parameters=num_parameters(llava.model))
    return quality


def write_llava_card(folder: Path, quality: Quality, training: dict[str, Any], *, parameters: int) -> None:
    """Write ``training.json`` and ``README.md``."""
    figures = rounded(quality)
    write_json(folder / "training.json", {"training": training, "quality": figures})
    forms = "\n".join(
        f"- {frames} frames, {f'{pace} for each motion' if pace else 'one or two motions'}" for frames, pace in FORMS
    )
    words = _README.format(
        rows=figure_rows(figures, {}),
        times=time_rows(training),
        forms=forms,
        prompt=PROMPTS[VERSION].replace("\n", " "),
        parameters=parameters / 1e6,
        s="" if training["threads"] == 1 else "s",
        t=training,
    )
    (folder / "README.md").write_text(words, encoding="utf-8")


_README = """\
# The small Llava `shapes_llava`

It lists the states of a procedural clip from its first frame and its instruction: what `states: llava` uses on the base
`shapes_video`. It stands in for a published Llava and knows only the words of these clips.

## Model
`LlavaForConditionalGeneration` of transformers: a CLIP vision tower (3 layers of 64 channels, patches of 8 px) and a
Llama (3 layers of 64 channels), {parameters:.2f} M parameters, float16. One token per word of captions and prompts.

The prompt `v1` is the image, then `{prompt}`
The answer has one state per line, such as `a large red circle moves right`.

## Training
{t[training_clips]} scenes of the training split, of five forms in turn:

{forms}

First the vision tower learns to tell radius, colour and shape (`vision`). Then all other weights are trained on the
words of the answer (`llava`); the number of states is drawn for each clip. The instruction names colour, shape and
motions, so a state needs the image for the size only, and for how it changes.

`{t[command]}`: {t[cpu_minutes]} minutes of CPU time, {t[wall_minutes]} minutes on
{t[threads]} CPU thread{s} with other work beside it.

| stage | steps | batch | wall s | CPU s |
|---|---|---|---|---|
{times}

## Quality
Eight predicted states of each of {t[held_out_clips]} held-out clips against those of the true frames: shares of right
words, and of answers with exactly eight states (`right_number`).

| figure | measured | target |
|---|---|---|
{rows}
"""
