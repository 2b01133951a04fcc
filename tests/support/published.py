"""The published JSON Schemas in docs/schemas, and what of an event they do not allow."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator

SCHEMAS = Path(__file__).parents[2] / "docs" / "schemas"


def unpublished(event: dict[str, Any]) -> list[str]:
    """Return one line for each way in which an event is not as published; none is well.

    Consumers may meet fields they do not know, so the schemas allow them. Here they are faults:
    what is sent has to be published first.
    """
    if not (SCHEMAS / f"{event['type']}.json").exists():
        return [f"{event['type']}: no such event is published"]
    validator = _validator(event["type"])
    faults = [f"{error.json_path} {error.message}" for error in validator.iter_errors(event)]
    faults += [f"{path}: no such field is published" for path in _unknown(validator, event)]
    return [f"{event['type']}: {fault}" for fault in faults]


@cache
def _validator(event_type: str) -> Draft202012Validator:
    from jsonschema import Draft202012Validator  # noqa: PLC0415 - builds grammars for a second

    schema = json.loads((SCHEMAS / f"{event_type}.json").read_text())
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER)


def _unknown(validator: Draft202012Validator, event: dict[str, Any]) -> Iterator[str]:
    schema: Any = validator.schema
    data = schema["properties"]["data"]["$ref"].rpartition("/")[2]
    yield from sorted(event.keys() - schema["properties"].keys())
    known = schema["$defs"][data]["properties"].keys()
    yield from (f"data.{name}" for name in sorted(event["data"].keys() - known))
