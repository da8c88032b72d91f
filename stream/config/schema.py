"""The configuration as JSON Schema, for editors and for checks before a roll-out.

``python -m stream.config.schema`` prints it.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from stream.config import durations
from stream.config.fields import is_duration
from stream.config.model import Config
from stream.config.table import table_of
from stream.core.schema import DIALECT


class _Generator(GenerateJsonSchema):
    """TOML has no null: a key is there or it isn't. Titles would only repeat the keys."""

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        if schema.get("default", ...) is None:
            return self.generate_inner(schema["schema"])
        return super().default_schema(schema)

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


def config_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of ``cxkpi.toml``.

    It knows the rules of single keys; those between keys are checked by ``cxkpi check`` alone.
    """
    generated = Config.model_json_schema(schema_generator=_Generator)
    tables = generated["$defs"]
    for table in [*tables.values(), generated]:
        table.pop("title", None)
    for model in _models():
        properties = (generated if model is Config else tables[model.__name__])["properties"]
        for field, info in model.model_fields.items():
            _write_default(properties[info.alias or field], info)
    return {
        "$schema": DIALECT,
        "title": "cxkpi.toml",
        "description": generated.pop("description"),
        **generated,
    }


def _models() -> list[type[BaseModel]]:
    tables = map(table_of, Config.model_fields.values())
    return [Config, *(table for table in tables if table is not None)]


def _write_default(schema: dict[str, Any], info: FieldInfo) -> None:
    """Put the default as the user would write it."""
    default = info.get_default()
    if is_duration(info.metadata) and isinstance(default, int):
        schema["default"] = durations.label(default)
    elif isinstance(default, tuple) and default and isinstance(default[0], BaseModel):
        schema["default"] = [entry.model_dump(by_alias=True) for entry in default]


if __name__ == "__main__":
    sys.stdout.write(json.dumps(config_schema(), indent=2) + "\n")
