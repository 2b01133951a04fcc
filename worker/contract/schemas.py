"""Generates JSON Schemas and examples from the models."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, models_json_schema

Schema = dict[str, Any]

_DIALECT = "https://json-schema.org/draft/2020-12/schema"


class _Untitled(GenerateJsonSchema):
    """A field's name is title enough."""

    def field_title_should_be_set(self, schema: object) -> bool:  # noqa: ARG002 - pydantic's
        return False


def schema_of(model: type[BaseModel]) -> Schema:
    """Return the JSON Schema of one model, with everything that it refers to."""
    schema = model.model_json_schema(schema_generator=_Untitled)
    return {"$schema": _DIALECT, **_on_one_line(schema)}


def shared_schemas(models: Iterable[type[BaseModel]], ref_template: str) -> dict[str, Schema]:
    """Return the JSON Schemas of many models by name; they refer to each other by the template."""
    modes = [(model, "validation") for model in models]
    _, found = models_json_schema(
        modes,  # type: ignore[arg-type] # a tuple of a model and a literal
        ref_template=ref_template,
        schema_generator=_Untitled,
    )
    definitions: dict[str, Schema] = found["$defs"]
    return {name: _on_one_line(schema) for name, schema in definitions.items()}


def example_of(model: type[BaseModel]) -> dict[str, Any]:
    """Return an example: every field that has a fixed value or an example of its own."""
    schema = schema_of(model)
    return _example(schema, schema.get("$defs", {}))


def _example(schema: Schema, definitions: dict[str, Schema]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for name, field in schema["properties"].items():
        if "$ref" in field:
            made[name] = _example(definitions[field["$ref"].rpartition("/")[2]], definitions)
        elif "const" in field:
            made[name] = field["const"]
        elif "examples" in field:
            made[name] = field["examples"][0]
    return made


def _on_one_line(schema: Any) -> Any:  # noqa: ANN401 - any part of a schema
    """Descriptions without the line breaks of the source."""
    if isinstance(schema, list):
        return [_on_one_line(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        name: " ".join(part.split())
        if name == "description" and isinstance(part, str)
        else _on_one_line(part)
        for name, part in schema.items()
    }
