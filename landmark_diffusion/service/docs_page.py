"""The description of the service as a page that needs no network and runs no script."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping, Sequence
from importlib.resources import files
from string import Template
from typing import Any

Description = Mapping[str, Any]


def docs_page(described: Description, landmarks: Sequence[str]) -> str:
    """Write the page of an OpenAPI description, for ``web.pages.page``; ``landmarks`` are the model's names."""
    info = described["info"]
    template = files(__package__).joinpath("docs.html.template").read_text("utf-8")
    paths = [
        _operation(path, verb, operation)
        for path, verbs in described["paths"].items()
        for verb, operation in verbs.items()
    ]
    return Template(template).substitute(
        title=_text(info["title"]),
        summary=_text(info["summary"]),
        version=_text(info["version"]),
        description=_text(info["description"]),
        paths="\n".join(paths),
        landmarks="".join(f"<li>{_text(name)}</li>" for name in landmarks),
    )


def _operation(path: str, verb: str, operation: Description) -> str:
    parts = [
        f'<h2><span class="verb">{verb.upper()}</span> <code>{_text(path)}</code></h2>',
        f"<p>{_text(operation['summary'])}. {_text(operation.get('description', ''))}</p>",
        _parameters(operation.get("parameters", ())),
        f"<p>Body: {_text(operation['requestBody']['description'])}</p>" if "requestBody" in operation else "",
        _responses(operation["responses"]),
    ]
    return "\n".join(filter(None, parts))


def _parameters(parameters: Sequence[Description]) -> str:
    if not parameters:
        return ""
    rows = [
        (f"<code>{_text(each['name'])}</code>", _text(each["description"]), _values(each["schema"]))
        for each in parameters
    ]
    return _table(("Option", "Meaning", "Values"), rows)


def _values(schema: Description) -> str:
    return ", ".join(f"<code>{_text(each)}</code>" for each in schema.get("enum", schema.get("examples", ())))


def _responses(responses: Mapping[str, Description]) -> str:
    rows = [(f"<code>{_text(status)}</code>", _text(each["description"])) for status, each in responses.items()]
    return _table(("Status", "Meaning"), rows)


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    first, *others = headings
    head = f'<th class="narrow">{first}</th>' + "".join(f"<th>{each}</th>" for each in others)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _text(value: object) -> str:
    """As text of the page, with what stands in backticks as code."""
    return re.sub(r"`([^`]*)`", r"<code>\1</code>", html.escape(str(value)))
