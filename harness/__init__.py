"""Compare hand-crafted and learned image-classification pipelines on identical splits."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness.api import compare as compare
    from harness.api import ensemble as ensemble
    from harness.api import load as load
    from harness.api import load_dataset as load_dataset
    from harness.api import predict as predict
    from harness.api import rescore as rescore
    from harness.api import run as run
    from harness.api import write_report as write_report
    from harness.contract import Batch as Batch
    from harness.contract import Dataset as Dataset
    from harness.contract import Split as Split
    from harness.contract import UserError as UserError
    from harness.engine.observer import RunObserver as RunObserver
    from harness.workspace import Workspace as Workspace

__version__ = "0.1.0"

_EXPORTS = {
    "Batch": "harness.contract",
    "Dataset": "harness.contract",
    "RunObserver": "harness.engine.observer",
    "Split": "harness.contract",
    "UserError": "harness.errors",
    "Workspace": "harness.workspace",
    "compare": "harness.api",
    "ensemble": "harness.api",
    "load": "harness.api",
    "load_dataset": "harness.api",
    "predict": "harness.api",
    "rescore": "harness.api",
    "run": "harness.api",
    "write_report": "harness.api",
}
__all__ = sorted([*_EXPORTS, "__version__"])


def __getattr__(name: str) -> object:
    """Import on first use, so that `import harness` costs nothing (PEP 562)."""
    if name not in _EXPORTS:
        raise AttributeError(f"module 'harness' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_EXPORTS[name]), name)
