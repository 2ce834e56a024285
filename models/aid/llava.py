"""A Llava that is asked for the states of a clip: prompts, greedy answers, and the rule that repairs answers.

Any folder or hub id of transformers' ``LlavaForConditionalGeneration`` with its processor.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoProcessor, LlavaForConditionalGeneration

from models.aid.states import evenly
from models.backbones import quiet

PROMPTS = {"v1": "{instruction}.\nList {number} states of the video in order, one per line."}
"""Text that follows the image, by version; a changed text is a new version."""

TOKENS_PER_STATE = 48
"""Longest state; a longer answer is cut."""

_MARKS = re.compile(r"^(?:[-*\u2022]|(?:state|step)?\s*\d+\s*[.):-])\s*", re.IGNORECASE)
"""Marks of list entries, such as ``2.`` or ``State 2:``."""


def question(version: str, instruction: str, number: int) -> str:
    """Return the text that asks for the states of one clip."""
    return PROMPTS[version].format(instruction=instruction.strip().rstrip("."), number=number)


def split_answer(answer: str) -> list[str]:
    """Split an answer into states: lines or parts between semicolons, without marks of list entries."""
    parts = (_MARKS.sub("", part.strip()).strip() for part in re.split(r"[;\n]", answer))
    return [part for part in parts if part]


def repaired(answer: str, instruction: str, number: int) -> tuple[list[str], bool]:
    """Return exactly so many states, and whether the answer had another number.

    An empty answer becomes the instruction, split as an answer is; too few or too many states are chosen evenly.

    Args:
        answer: Text of the model.
        instruction: Instruction of the clip.
        number: States asked for.
    """
    states = split_answer(answer)
    return evenly(states or split_answer(instruction), number), len(states) != number


@dataclass(frozen=True)
class Llava:
    """A loaded Llava.

    Args:
        model: Image and text -> text.
        processor: Prepares its inputs.
    """

    model: LlavaForConditionalGeneration
    processor: Any

    @classmethod
    def load(cls, folder: Path, *, device: torch.device, dtype: torch.dtype) -> Self:
        """Load a model with its processor from a folder.

        Raises:
            OSError: There is no such model, or files are missing.
            ValueError: It is another kind of model, or its processor has no chat template.
        """
        with quiet():
            processor = AutoProcessor.from_pretrained(folder)
            model = LlavaForConditionalGeneration.from_pretrained(folder, dtype=dtype)
        if not processor.chat_template:
            raise ValueError(
                f"{folder} has no chat template -> a Llava with chat_template.jinja, such as llava-1.5-7b-hf"
            )
        processor.tokenizer.padding_side = "left"  # answers begin where prompts end
        return cls(model.to(device).eval().requires_grad_(False), processor)

    @torch.inference_mode()
    def answers(
        self, images: NDArray[np.uint8], instructions: Sequence[str], number: int, *, prompt: str, batch: int = 32
    ) -> list[str]:
        """Ask for the states that follow images; decoding is greedy.

        Args:
            images: First frames.
            instructions: One per image.
            number: States asked for.
            prompt: Version of the prompt.
            batch: Clips per pass.

        Shape:
            images (b h w 3) uint8.
        """
        found: list[str] = []
        for start in range(0, len(instructions), batch):
            part = slice(start, start + batch)
            texts = [self.chat(question(prompt, text, number)) for text in instructions[part]]
            inputs = self.processor(images=list(images[part]), text=texts, padding=True, return_tensors="pt")
            inputs = inputs.to(self.model.device, self.model.dtype)
            made = self.model.generate(
                **inputs, do_sample=False, num_beams=1, max_new_tokens=TOKENS_PER_STATE * number, use_cache=True
            )
            said = made[:, inputs["input_ids"].shape[1] :]
            found += self.processor.batch_decode(said, skip_special_tokens=True)
        return found

    def chat(self, text: str) -> str:
        """Return a conversation in which the text follows an image, up to the answer."""
        content = [{"type": "image"}, {"type": "text", "text": text}]
        chat: str = self.processor.apply_chat_template(
            [{"role": "user", "content": content}], add_generation_prompt=True, tokenize=False
        )
        return chat
