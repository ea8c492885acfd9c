"""The OpenAPI document, made true where FastAPI can't know: `fields=` leaves fields out of what is else complete."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

_SUFFIX = "Selected"


def describe(app: FastAPI) -> None:
    """Have `app` answer with the completed document."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            made = get_openapi(title=app.title, version=app.version, summary=app.summary, routes=app.routes)
            app.openapi_schema = with_selections(made)
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]  # FastAPI's own way to extend the document


def with_selections(document: dict[str, Any]) -> dict[str, Any]:
    """Return the document in which an operation with `fields` may answer with any of the fields."""
    models = document["components"]["schemas"]
    for methods in document["paths"].values():
        for operation in methods.values():
            if any(one["name"] == "fields" for one in operation.get("parameters", [])):
                media = operation["responses"]["200"]["content"]["application/json"]
                media["schema"] = {"anyOf": [media["schema"], {"$ref": _selected(models, media["schema"]["$ref"])}]}
    return document


def _selected(models: dict[str, Any], reference: str) -> str:
    name = reference.rsplit("/", 1)[1]
    chosen = f"{name}{_SUFFIX}"
    if chosen not in models:
        model = deepcopy(models[name])
        model["title"] = chosen
        lists = [one for one in model["properties"].values() if "$ref" in one.get("items", {})]
        for one in lists:
            one["items"]["$ref"] = _selected(models, one["items"]["$ref"])
        if not lists:
            model.pop("required", None)
        models[chosen] = model
    return f"{reference}{_SUFFIX}"
