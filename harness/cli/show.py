"""`harness show`: a pipeline's parameters, and a network's layers with what they cost."""

from __future__ import annotations

import inspect
from math import prod
from typing import TYPE_CHECKING, Any

import click

from harness.cli import options

if TYPE_CHECKING:
    from harness.registry import Resolved
    from harness.workspace import Workspace

MEGABYTE = 1e6
FLOAT32_BYTES = 4
TRAINING_COPIES = 3  # of the parameters: themselves, their gradients and velocities
TRAINING_BATCH = 128  # images


@click.command()
@click.argument("pipeline", metavar="SPEC", shell_complete=options.complete_pipeline)
@click.option(
    "--classes",
    type=options.WholeNumber(2),
    default=1000,
    show_default=True,
    help="Classes of the network's last layer.",
)
@click.option(
    "--image-size",
    type=options.WholeNumber(1),
    default=224,
    show_default=True,
    help="Height and width of the image, in pixels.",
)
@options.workspace("plugins")
@options.as_json
def command(
    pipeline: str, classes: int, image_size: int, workspace: Workspace, as_json: bool
) -> None:
    """Show the parameters of a pipeline, with defaults and allowed values.

    For a network also the layers, with their parameters, multiply-adds and memory.
    """
    resolved = workspace.resolve("pipeline", pipeline)
    _print_parameters(resolved)
    layers = _layers(resolved, classes, image_size)
    if layers:
        click.echo(
            f"\n{classes} classes, images of {image_size} x {image_size}, one view per image:\n"
        )
        _print_layers(layers)
    if as_json:
        options.print_json(_json(resolved, layers))


def _print_parameters(resolved: Resolved) -> None:
    from harness.render.table import Column, Table
    from harness.spec import describe, parameters

    entry = resolved.entry
    documentation = inspect.cleandoc(entry.load().__doc__ or "")
    click.echo(
        f"{resolved.spec}\n{entry.family}, {entry.origin}, source {entry.source_hash}\n\n"
        f"{documentation}\n"
    )
    rows = []
    for name, parameter in parameters(resolved.build).items():
        default = "-" if parameter.default is parameter.empty else str(parameter.default)
        allowed = describe(parameter.annotation)
        rows.append([name, str(resolved.values[name]), default, allowed])
    head = [
        Column("parameter", "left"),
        Column("value", "left"),
        Column("default", "left", priority=1),
        Column("allowed", "left", free_text=True),
    ]
    click.echo(Table(head, rows).to_text() if rows else "no parameters")


def _layers(resolved: Resolved, classes: int, image_size: int) -> list[dict[str, Any]]:
    """Return the layers of a network with the bytes of their outputs; empty for the others."""
    from harness.contract import HasLayers

    pipeline = resolved.make()
    if not isinstance(pipeline, HasLayers):
        return []
    layers = pipeline.layers(classes, (image_size, image_size))
    return [{**layer, "output_bytes": FLOAT32_BYTES * prod(layer["output"])} for layer in layers]


def _print_layers(layers: list[dict[str, Any]]) -> None:
    from harness.render.table import Column, Table

    totals = _totals(layers)
    rows = [
        [layer["name"], " x ".join(map(str, layer["output"])), *_cost_cells(layer)]
        for layer in layers
    ]
    rows.append(["total", "", *_cost_cells(totals)])
    head = [
        Column("layer", "left"),
        Column("output", "left", priority=2),
        Column("parameters"),
        Column("multiply-adds"),
        Column("output MB", priority=1),
    ]
    click.echo(Table(head, rows).to_text())
    parameter_mb = FLOAT32_BYTES * totals["parameters"] / MEGABYTE
    output_mb = totals["output_bytes"] / MEGABYTE
    training_mb = TRAINING_COPIES * parameter_mb + TRAINING_BATCH * output_mb
    click.echo(
        f"\nmemory     {parameter_mb:,.1f} MB of parameters; training on {TRAINING_BATCH} images "
        f"at least {training_mb:,.0f} MB: parameters, gradients, velocities and layer outputs"
    )


def _totals(layers: list[dict[str, Any]]) -> dict[str, int]:
    names = ("parameters", "multiply_adds", "output_bytes")
    return {name: sum(layer[name] for layer in layers) for name in names} if layers else {}


def _cost_cells(layer: dict[str, int]) -> list[str]:
    return [
        f"{layer['parameters']:,}",
        f"{layer['multiply_adds']:,}",
        f"{layer['output_bytes'] / MEGABYTE:.3f}",
    ]


def _json(resolved: Resolved, layers: list[dict[str, Any]]) -> dict[str, Any]:
    from harness.spec import describe, parameters

    known, entry = parameters(resolved.build), resolved.entry
    return {
        "pipeline": resolved.spec,
        "family": entry.family,
        "origin": entry.origin,
        "source_hash": entry.source_hash,
        "defaults": {name: p.default for name, p in known.items() if p.default is not p.empty},
        "allowed": {name: describe(p.annotation) for name, p in known.items()},
        "layers": layers,
        **_totals(layers),
    }
