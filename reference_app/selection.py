"""Answers as bytes, with the fields the caller chose: `fields=flight_id,price_cents`. Pure.

A list's fields are those of its items; what stands around the items always comes. An unknown name is refused with the
known ones, so that a typing error is not an empty answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any

from fastapi import Query, Response
from pydantic import BaseModel

from reference_app.problems import Problem

MOST_CHARACTERS = 400
Fields = Annotated[
    str | None,
    Query(
        max_length=MOST_CHARACTERS,
        pattern="^[a-z_]+(,[a-z_]+)*$",
        description="Only these fields of the answer (of each item, in a list), with commas between.",
        examples=["id"],
    ),
]


def answer(
    model: BaseModel,
    fields: str | None = None,
    *,
    items: str | None = None,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Return the model as a JSON response, with the chosen fields of it or, if `items` is given, of the list there.

    Raises a 422 problem that names the known fields.
    """
    include: Any = None
    if fields is not None:
        kind = type(model) if items is None else _item_kind(type(model), items)
        chosen = _chosen(kind, fields)
        include = chosen if items is None else {name: True for name in type(model).model_fields if name != items}
        if items is not None:
            include[items] = {"__all__": chosen}
    body = model.__pydantic_serializer__.to_json(model, by_alias=True, include=include)
    return Response(body, status, headers=dict(headers or {}), media_type="application/json")


def _chosen(kind: type[BaseModel], fields: str) -> set[str]:
    known = _names(kind)
    chosen = fields.split(",")
    unknown = [name for name in chosen if name not in known]
    if unknown:
        detail = f"fields: expected some of {', '.join(sorted(known))}; got {unknown[0]}"
        raise Problem(422, "unknown-field", detail)
    return {known[name] for name in chosen}


@cache
def _names(kind: type[BaseModel]) -> dict[str, str]:
    return {field.alias or name: name for name, field in kind.model_fields.items()}


@cache
def _item_kind(kind: type[BaseModel], items: str) -> type[BaseModel]:
    (item,) = kind.model_fields[items].annotation.__args__  # type: ignore[union-attr]  # list[Item], by our own models
    return item  # type: ignore[no-any-return]  # a model class, as above
