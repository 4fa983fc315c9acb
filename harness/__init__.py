"""Compare hand-crafted and learned image-classification pipelines on identical splits."""

from __future__ import annotations

__version__ = "0.1.0"

_EXPORTS = {
    "Batch": "harness.contract",
    "Dataset": "harness.contract",
    "Split": "harness.contract",
    "UserError": "harness.errors",
    "compare": "harness.comparison.compare",
    "ensemble": "harness.engine.ensemble",
    "load_dataset": "harness.data.load",
    "rescore": "harness.engine.rescore",
    "run": "harness.engine.runner",
}
__all__ = sorted([*_EXPORTS, "__version__"])


def __getattr__(name: str) -> object:
    """Import on first use, so that `import harness` costs nothing (PEP 562)."""
    if name not in _EXPORTS:
        raise AttributeError(f"module 'harness' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_EXPORTS[name]), name)
