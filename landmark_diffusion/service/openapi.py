"""The description of the service for programs: OpenAPI 3.1, with the schema of points.json in it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from landmark_diffusion.core.texts import LIMITS
from landmark_diffusion.core.version import version
from landmark_diffusion.detection.detector import ORIENTATIONS, Detector
from landmark_diffusion.detection.writers.points_json import points_schema
from landmark_diffusion.service.limits import Limits

IMAGE = "The file of a radiograph: PNG, JPEG, BMP, TIFF or DICOM, told by its content."
REFUSALS = {
    "400": "An option or form that cannot be used.",
    "401": "No token, or another one.",
    "403": "Asked by a page of another site, or under a name that is not this computer's.",
    "408": "The body did not come in time.",
    "413": "The body is too large.",
    "422": "The image cannot be used, or the form cannot be made of it; the words are those of `ldx detect`.",
    "503": "There is too much to do: ask again after `Retry-After` seconds.",
}
ERROR = {
    "type": "object",
    "required": ["status", "kind", "error"],
    "properties": {
        "status": {"type": "integer", "description": "That of HTTP."},
        "kind": {
            "type": "string",
            "description": "A word for programs: bad_request, token, host, origin, slow_body, cut, too_large, image, "
            "form, busy, memory, not_found, method, fault.",
        },
        "error": {"type": "string", "description": "For people: what was found, what was expected, what to do."},
    },
}


def openapi(detector: Detector, limits: Limits, forms: Sequence[str], orientation: str) -> dict[str, Any]:
    """Describe the service of a model: what is asked at which path, and what may be answered."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": f"Landmarks by {detector.model}",
            "version": version(),
            "summary": f"Finds {len(detector.facts.landmark_names)} anatomical landmarks in a radiograph.",
            "description": " ".join(LIMITS),
        },
        "security": [{"bearer": []}, {"query": []}],
        "paths": {
            "/v1/detect": {"post": _detect(limits, forms, orientation)},
            "/v1/health": {"get": _get("Whether the service is ready, and whether it is busy", "health", HEALTH, [{}])},
            "/v1/version": {"get": _get("Versions of the package, of these paths and of points.json", "version")},
            "/v1/model": {"get": _get("What the model is, finds and was measured at", "model")},
            "/openapi.json": {"get": _get("This description", "openapi")},
        },
        "components": {
            "schemas": {**_points_schemas(), "error": ERROR},
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "query": {"type": "apiKey", "in": "query", "name": "token"},
            },
        },
    }


HEALTH = {
    "type": "object",
    "required": ["status", "busy"],
    "properties": {
        "status": {"const": "ready"},
        "busy": {"type": "boolean", "description": "Whether the next image would be sent away."},
    },
}


def _points_schemas() -> dict[str, Any]:
    """The schema of points.json as one of several schemas: most programs read no identifiers within a description."""
    schema = points_schema()
    named = {"points": schema, **{f"points_{name}": part for name, part in schema.pop("$defs").items()}}
    for name in ("$schema", "$id"):
        del schema[name]
    text = json.dumps(named).replace('"#/$defs/', '"#/components/schemas/points_')
    found: dict[str, Any] = json.loads(text)
    return found


def _detect(limits: Limits, forms: Sequence[str], orientation: str) -> dict[str, Any]:
    return {
        "operationId": "detect",
        "summary": "An image to its landmarks",
        "description": f"At most {limits.max_bytes} bytes and {limits.max_pixels} pixels. The answer is what "
        "`ldx detect` writes of this one image.",
        "parameters": [
            _option("to", f"Form of the answer, by default {forms[0]}.", {"enum": list(forms)}),
            _option(
                "spacing", "mm per pixel, one value or two for x and y; goes before that of a DICOM file.",
                {"type": "string", "examples": ["0.1", "0.1,0.12"]},
            ),
            _option(
                "orientation",
                "auto: a model that has learned it recognises mirrored, turned and negative images; as-is: the image "
                f"is taken as it is. By default {orientation}.",
                {"enum": list(ORIENTATIONS)},
            ),
            _option("name", "The file's name, for the answer; no folders.", {"type": "string", "maxLength": 255}),
        ],
        "requestBody": {
            "required": True,
            "description": IMAGE,
            "content": {
                "application/octet-stream": {},
                "multipart/form-data": {
                    "schema": {
                        "type": "object", "required": ["image"],
                        "properties": {"image": {"contentMediaType": "application/octet-stream"}},
                    }
                },
            },
        },
        "responses": {
            "200": {
                "description": "What was found; other forms than json are files to keep.",
                "content": {
                    "application/json": {"schema": {"$ref": "#/components/schemas/points"}},
                    "application/octet-stream": {},
                },
            },
            **_refusals(*REFUSALS),
        },
    }  # fmt: skip


def _get(
    summary: str, name: str, schema: dict[str, Any] | None = None, security: list[dict[str, Any]] | None = None
) -> dict[str, Any]:
    content = {"application/json": {"schema": schema or {"type": "object"}}}
    refusals = _refusals("403") if security is not None else _refusals("401", "403")
    found = {
        "operationId": name,
        "summary": summary,
        "responses": {"200": {"description": "As JSON.", "content": content}, **refusals},
    }
    return found if security is None else {**found, "security": security}


def _option(name: str, description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "query", "required": False, "description": description, "schema": schema}


def _refusals(*statuses: str) -> dict[str, Any]:
    content = {"application/json": {"schema": {"$ref": "#/components/schemas/error"}}}
    return {each: {"description": REFUSALS[each], "content": content} for each in statuses}
