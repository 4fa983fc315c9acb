"""Nested states as one flat dict of tensors: {"pca": {"mean": x}} is stored as {"pca.mean": x}."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from harness.contract import State


def join_states(states: Mapping[str, State]) -> State:
    """Return one flat state with the key `name.key` for each key of each named state."""
    return {
        f"{name}.{key}": tensor for name, state in states.items() for key, tensor in state.items()
    }


def substate(state: State, name: str) -> State:
    """Return the state that `join_states` stored under this name."""
    prefix = f"{name}."
    return {
        key.removeprefix(prefix): tensor for key, tensor in state.items() if key.startswith(prefix)
    }


def tensor_fields(fitted: Any) -> State:
    """Return the fields of a dataclass of tensors (`PCA`, `GMM`, ...), from which it is rebuilt."""
    return {field.name: getattr(fitted, field.name) for field in fields(fitted)}
