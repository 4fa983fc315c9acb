"""The ensembles of the paper, declared in `benchmarks/ensembles.toml`."""

from __future__ import annotations

import tomllib
from importlib.resources import files
from typing import Any

from harness.errors import UserError
from harness.spec import suggest


def declared_members(name: str) -> list[str]:
    """Return the pipeline specs of a declared ensemble.

    Raises
    ------
    UserError
        If the name is unknown, or a member needs something that is not available here.
    """
    ensembles = declarations()
    if name not in ensembles:
        raise UserError(
            f"no ensemble is called {name!r}{suggest(name, ensembles)}; "
            f"available: {', '.join(ensembles)}"
        )
    ensemble = ensembles[name]
    members = list(ensemble["member"])
    if "includes" in ensemble:
        members = [*ensembles[ensemble["includes"]]["member"], *members]
    if missing := [f"{m['config']} needs {m['needs']}" for m in members if "needs" in m]:
        raise UserError(
            f"ensemble {name}, {ensemble['title']}, cannot be put together here: "
            f"{'; '.join(missing)}"
        )
    return [member["pipeline"] for member in members]


def declarations() -> dict[str, Any]:
    """Return the declared ensembles by name."""
    return tomllib.loads((files("benchmarks") / "ensembles.toml").read_text(encoding="utf-8"))
