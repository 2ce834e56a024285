"""Files of a text encoder in a folder: a whole base in diffusers' layout, or a CLIP model of transformers.

Imports no torch: only configuration files and the names of weight files are read.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from models.bases.configurations import TEXT, Files, Misfit
from models.bases.vocabulary import missing_vocabulary, vocabulary_problem
from models.words import listed

_CONFIGURATION = "config.json"
_TYPES = ("clip_text_model", "clip")
"""Types of models that hold CLIP's text encoder."""

PATTERNS = ("text_encoder/*", "tokenizer/*", "*.json", "*.txt", "model*.safetensors")
"""Files of a repository that are downloaded for its text encoder."""


@dataclass(frozen=True)
class TextFiles:
    """Where the files of a text encoder are.

    Args:
        folder: The folder that was named.
        encoder: Sub-folder of configuration and weights; empty for the folder itself.
        tokenizer: Sub-folder of the tokenizer; empty for the folder itself.
    """

    folder: Path
    encoder: str
    tokenizer: str

    @classmethod
    def of(cls, folder: Path) -> Self | None:
        """Find the text encoder of a folder; None if it has none."""
        if (folder / TEXT).is_file():
            return cls(folder, "text_encoder", "tokenizer")
        if Files(folder, (_CONFIGURATION,))[_CONFIGURATION].get("model_type") in _TYPES:
            return cls(folder, "", "")
        return None

    def missing(self) -> list[str]:
        """Return the files that are missing, as paths inside the folder."""
        encoder, tokenizer = self.folder / self.encoder, self.folder / self.tokenizer
        lacking = [str(Path(self.tokenizer, name)) for name in missing_vocabulary(tokenizer)]
        if not (tokenizer / "tokenizer_config.json").is_file():
            lacking.append(str(Path(self.tokenizer, "tokenizer_config.json")))
        if not any(file.suffix in (".safetensors", ".bin") for file in encoder.glob("*")):
            lacking.append(str(Path(self.encoder, "*.safetensors")))
        return lacking

    def misfits(self) -> list[Misfit]:
        """Return the reasons why the files are not those of CLIP's text encoder with its tokenizer."""
        name = str(Path(self.encoder, _CONFIGURATION))
        files = Files(self.folder, (name,))
        found, config = list(files.damaged), files[name]
        if config and (kind := config.get("model_type")) not in _TYPES:
            found.append(Misfit(name, "model_type", kind, "not CLIP's text encoder", listed(_TYPES)))
        settings = config.get("text_config", config)
        most_ids = settings.get("vocab_size", 49408) if isinstance(settings, dict) else None
        if problem := vocabulary_problem(self.folder / self.tokenizer, most_ids=most_ids):
            file, reason = problem
            allowed = "the tokenizer that the text encoder was published with"
            found.append(Misfit(str(Path(self.tokenizer, file)), "", None, reason, allowed))
        return found
