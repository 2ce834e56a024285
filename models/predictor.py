"""Who predicts the states of clips, as plain data; ``models.aid.llava`` has the model itself."""

import json
from dataclasses import dataclass
from pathlib import Path

from models.bases import BaseRef, cached_snapshot, find_base, read_card

PREDICTED = "predicted"
"""Further text of a clip that a predictor makes."""

CONFIGURATION = "config.json"
FILES = ("tokenizer_config.json", "*.safetensors")
"""Files that a Llava needs beside its configuration."""

EXAMPLE = "llava-hf/llava-1.5-7b-hf"
"""A published Llava, for messages."""


@dataclass(frozen=True)
class Predictor:
    """A Llava and what it is asked.

    Args:
        model: Folder or hub id; empty for the one that the base's card names.
        prompt: Version of the prompt.
        number: States asked for.
    """

    model: str
    prompt: str
    number: int

    def ref(self, base: BaseRef) -> BaseRef:
        """Locate the model.

        Args:
            base: Base of the system.

        Raises:
            ValueError: It is no folder and no hub id, or none is named.
        """
        if self.model:
            try:
                return find_base(self.model)
            except ValueError:
                raise ValueError(f"{self.model} -> a folder, or a hub id such as {EXAMPLE}") from None
        own = read_card(base).llava
        if not own or base.path is None:
            raise ValueError(f"base {base} names no Llava that predicts states -> control: {{llava: {EXAMPLE}}}")
        folder = Path(base.path, own).resolve()
        return BaseRef(folder.name, folder, None, "folder")

    def folder(self, base: BaseRef) -> Path:
        """Return the folder of the model on this machine.

        Raises:
            ValueError: It is a hub id that is not in the local cache, or no model is named.
        """
        ref = self.ref(base)
        if (folder := ref.path or self.cached(ref)) is None:
            raise ValueError(f"{ref} is not in the local cache -> hf download {ref.name}")
        return folder

    def misfit(self, base: BaseRef) -> str:
        """Return why the model cannot be used, and what can; empty if it can, or is not on this machine.

        Args:
            base: Base of the system.
        """
        try:
            ref = self.ref(base)
        except ValueError as error:
            return str(error)
        folder = ref.path or self.cached(ref)
        if folder is None:
            return ""
        try:
            kind = json.loads((folder / CONFIGURATION).read_bytes()).get("model_type")
        except (OSError, ValueError, AttributeError):
            kind = None
        allowed = (
            f"a folder of transformers' LlavaForConditionalGeneration with its processor, or a hub id such as {EXAMPLE}"
        )
        if kind != "llava":
            return f"{ref} is no Llava (model_type {kind}) -> {allowed}"
        if missing := [name for name in FILES if not any(folder.glob(name))]:
            return f"{ref} lacks {', '.join(missing)} -> {allowed}"
        return ""

    @staticmethod
    def cached(ref: BaseRef) -> Path | None:
        """Return the folder of a hub id in the local cache, if it is there."""
        return cached_snapshot(ref, CONFIGURATION)
