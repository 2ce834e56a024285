"""The JSON schema of a study file, for editors."""

import typing
from typing import Any

from models import SYSTEMS
from models.bases import Protocol
from models.training import AdamW
from sweeps.study.designs import Design
from sweeps.study.types import Study
from trainables.metrics import NAMES


def schema() -> dict[str, Any]:
    """Return the JSON schema of a study file: the schema of ``Study``, with systems, metrics and profiles added."""
    whole = Study.model_json_schema(by_alias=True)
    properties = whole["properties"]
    properties["data"]["anyOf"].insert(0, {"type": "string", "description": "a layout with its defaults"})
    properties["by"]["anyOf"].insert(0, {"type": "string", "description": "a column of the annotations"})
    designs = [design.model_fields["kind"].default for design in typing.get_args(Design)]
    properties["design"] = {"anyOf": [{"enum": designs}, properties["design"]]}
    properties["metrics"]["items"] = {"enum": list(NAMES)}
    properties["system"]["enum"] = list(SYSTEMS)
    protocol, training = Protocol.model_json_schema(), AdamW.model_json_schema()["properties"]
    properties["protocol"] |= {"properties": protocol["properties"], "additionalProperties": False}
    plain = {key: value for key, value in training.items() if key != "kind"}
    properties["training"] |= {"properties": plain, "additionalProperties": False}
    own = {key: properties[key] for key in ("system", "base", "text_encoder", "protocol")}
    properties["arms"]["additionalProperties"]["properties"] = own
    source = {"from": {"type": "string", "description": "a file with keys of a study, relative to this one"}}
    overlay = {key: value for key, value in properties.items() if key != "name"} | source
    properties["blocks"] = _overlays("name -> keys of a study that differ in this block; each has its control", overlay)
    overlay = {**overlay, "blocks": properties["blocks"]}
    properties["profiles"] = _overlays("name -> keys of a study that --profile replaces", overlay)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **whole}


def _overlays(description: str, keys: dict[str, Any]) -> dict[str, Any]:
    maps = {"type": "object", "properties": keys, "additionalProperties": False}
    return {"type": "object", "description": description, "additionalProperties": maps}
