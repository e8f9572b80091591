"""Writes docs/parameters.md from the declarations; `--check` fails if the file is not up to date."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from generator import registry  # noqa: E402
from settings import Settings  # noqa: E402

TARGET = ROOT / "docs" / "parameters.md"


def allowed(schema: dict[str, Any]) -> str:
    """The values a field accepts, from its JSON schema."""
    if "anyOf" in schema:
        return " or ".join(allowed(part) for part in schema["anyOf"])
    if "enum" in schema:
        return ", ".join(str(value) for value in schema["enum"])
    low = schema.get("minimum", schema.get("exclusiveMinimum"))
    high = schema.get("maximum", schema.get("exclusiveMaximum"))
    if low is not None and high is not None:
        from_, to = "above " * ("exclusiveMinimum" in schema), "below " * ("exclusiveMaximum" in schema)
        return f"{from_}{low:g} to {to}{high:,.10g}"
    return {"boolean": "yes or no", "string": "text", "array": "a list of names", "null": "nothing"}.get(
        schema.get("type", ""), schema.get("type", "")
    )


def table(engine: str) -> str:
    """One Markdown table: setting, default, allowed values, meaning."""
    cls = registry.params_class(engine)
    rows = ["| setting | default | allowed | meaning |", "|---|---|---|---|"]
    for name, schema in cls.model_json_schema()["properties"].items():
        default = schema.get("default", "drawn" if name == "seed" else "")
        shown = ", ".join(default) if isinstance(default, list) else str(default)
        unit = f" {schema['unit']}" if schema.get("unit") else ""
        meaning = schema["description"].replace("|", r"\|")
        rows.append(f"| `{name}` | {shown}{unit if shown else ''} | {allowed(schema)} | {meaning} |")
    return "\n".join(rows)


def page() -> str:
    parts = [
        "# Parameters",
        "Written by `scripts/make_docs.py` from `generator/params.py`, `generator/registry.py` and `settings.py`. "
        "Defaults are those of the embedded mini models; a table below shows what other checkpoints start from.",
    ]
    for name, spec in registry.ENGINES.items():
        parts += [f"## {spec.title} (`{name}`)", spec.summary, table(name)]
    keys = list(dict.fromkeys(key for spec in registry.CHECKPOINTS.values() for key in spec.defaults))
    rows = ["| checkpoint | " + " | ".join(f"`{key}`" for key in keys) + " |", "|---" * (len(keys) + 1) + "|"]
    for name, checkpoint in registry.CHECKPOINTS.items():
        if not checkpoint.defaults:
            continue
        values = [checkpoint.defaults.get(key, "") for key in keys]
        cells = [", ".join(value) if isinstance(value, tuple) else str(value) for value in values]
        rows.append(f"| `{name}` | " + " | ".join(cells) + " |")
    parts += ["## Defaults by checkpoint", "\n".join(rows), "## Configuration", configuration()]
    return "\n\n".join(parts) + "\n"


def configuration() -> str:
    """One Markdown table of the environment variables the entry points read."""
    rows = ["| variable | default | meaning |", "|---|---|---|"]
    for name, field in Settings.model_fields.items():
        default = "" if field.default is None else f"`{field.default}`"
        rows.append(f"| `T2I_{name.upper()}` | {default} | {field.description} |")
    return "\n".join(rows)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if the file is out of date")
    args = parser.parse_args()
    if args.check:
        return int(not TARGET.exists() or TARGET.read_text() != page())
    TARGET.parent.mkdir(exist_ok=True)
    TARGET.write_text(page())
    return 0


if __name__ == "__main__":
    sys.exit(main())
