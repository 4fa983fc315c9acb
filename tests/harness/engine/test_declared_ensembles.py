"""The ensembles of the paper that `benchmarks/ensembles.toml` declares."""

from __future__ import annotations

import pytest

from harness.engine.declared_ensembles import declarations, declared_members
from harness.errors import UserError
from harness.registry import Registry


@pytest.mark.parametrize("name", declarations())
def test_every_declaration_has_a_source_and_members_that_exist(name: str) -> None:
    ensemble = declarations()[name]
    assert ensemble["title"]
    assert ensemble["source"]
    for member in ensemble["member"]:
        assert "pipeline" in member or "needs" in member
        if "pipeline" in member:
            Registry().resolve("pipeline", member["pipeline"])


def test_the_members_differ() -> None:
    registry, specs = Registry(), declared_members("5-readings")
    assert len({registry.resolve("pipeline", spec).spec for spec in specs}) == 5


def test_what_is_not_available_is_refused_with_what_it_needs() -> None:
    with pytest.raises(UserError, match=r"145f needs .*131 needs"):
        declared_members("5-cnns")
    with pytest.raises(UserError, match=r"131 needs .*146-2012-2011 needs a run"):
        declared_members("7-cnns")
    with pytest.raises(UserError, match=r"no ensemble is called '5-cnn' \(did you mean '5-cnns'"):
        declared_members("5-cnn")


def test_the_seven_include_the_five() -> None:
    assert [len(declarations()[name]["member"]) for name in ("5-cnns", "7-cnns")] == [5, 2]


def test_the_networks_of_the_author_are_those_of_his_code() -> None:
    """His files differ from the paper's text, which is `recipe=2012`."""
    for name in ("5-cnns", "7-cnns"):
        specs = [m["pipeline"] for m in declarations()[name]["member"] if "pipeline" in m]
        assert specs
        assert all("recipe=code" in spec for spec in specs)
