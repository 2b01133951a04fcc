"""The AsyncAPI document as a page to read. Says what the document says, nothing else."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator
from typing import Any

Document = dict[str, Any]

_HEAD = "<!-- Written by `python -m worker.contract docs`: change worker/contract instead. -->"


def page(document: Document) -> str:
    """Return the document as Markdown."""
    return "\n".join(_lines(document)) + "\n"


def _lines(document: Document) -> Iterator[str]:
    info = document["info"]
    yield from (_HEAD, f"# {info['title']}: messages, version {info['version']}", "")
    yield from (*_wrapped(info["description"]), "")
    yield "The same for programs: [asyncapi.json](asyncapi.json),"
    yield from ("and a JSON Schema of each event in [schemas](schemas).", "")
    yield from _channels(document)
    messages = document["components"]["messages"]
    yield from ("## Tasks", "", "What a shop sends.", "")
    for name in document["channels"]["tasks"]["messages"]:
        _, arguments, _ = messages[name]["payload"]["items"]
        yield from _message(document, messages[name], arguments)
    yield from ("## Events", "", "What a shop receives.", "")
    for name in document["channels"]["stream"]["messages"]:
        yield from _message(document, messages[name], messages[name]["payload"])


def _wrapped(prose: str) -> list[str]:
    """Break prose as all documents of this repository do."""
    return textwrap.wrap(prose, 120, break_long_words=False, break_on_hyphens=False)


def _channels(document: Document) -> Iterator[str]:
    yield from ("## Channels", "", "| channel | the worker | what it is |", "|---|---|---|")
    for operation in document["operations"].values():
        channel = document["channels"][_name(operation["channel"])]
        address = f"`{channel['address']}`" if channel["address"] else "the shop's URL"
        does = {"receive": "receives", "send": "sends"}[operation["action"]]
        yield f"| {address} | {does} | {channel['description']} {operation['summary']} |"
    yield ""


def _message(document: Document, message: Document, schema: Document) -> Iterator[str]:
    yield from (f"### `{message['name']}`", "", *_wrapped(message["summary"]), "")
    yield from ("| field | type | | meaning |", "|---|---|---|---|")
    yield from _fields(document, _resolved(document, schema), "")
    example = json.dumps(message["examples"][0]["payload"], indent=2)
    yield from ("", "```json", example, "```", "")


def _fields(document: Document, schema: Document, prefix: str) -> Iterator[str]:
    for name, field in schema["properties"].items():
        inner = _resolved(document, field)
        needed = "" if name in schema.get("required", ()) else "optional"
        meaning = field.get("description") or inner.get("description", "")
        yield f"| `{prefix}{name}` | {_type(inner)} | {needed} | {meaning} |"
        if "$ref" in field:
            yield from _fields(document, inner, f"{name}.")


def _type(field: Document) -> str:
    if "const" in field:
        return f"`{field['const']}`"
    if "enum" in field:
        return ", ".join(f"`{word}`" for word in field["enum"])
    if "anyOf" in field:
        return " or ".join(_type(each) for each in field["anyOf"])
    formats = {"date-time": "time", "uuid": "UUID"}
    return formats.get(field.get("format", ""), str(field["type"]))


def _resolved(document: Document, schema: Document) -> Document:
    if "$ref" not in schema:
        return schema
    found: Document = document["components"]["schemas"][_name(schema)]
    return found


def _name(reference: Document) -> str:
    name: str = reference["$ref"].rpartition("/")[2]
    return name
