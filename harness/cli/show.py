"""`harness show`: a pipeline's parameters, and a network's layers with what they cost."""

from __future__ import annotations

import inspect
from math import prod
from typing import TYPE_CHECKING

import click

from harness.cli import options

if TYPE_CHECKING:
    from harness.workspace import Workspace

MEGABYTE = 1e6
VALUE = 4  # bytes of a float32
COPIES = 3  # of the parameters in training: themselves, their gradient and velocity
BATCH = 128  # images


@click.command()
@click.argument("pipeline", metavar="SPEC", shell_complete=options.complete_pipeline)
@click.option(
    "--classes",
    type=click.IntRange(2),
    default=1000,
    show_default=True,
    help="Classes of the network's last layer.",
)
@click.option(
    "--image-size",
    type=click.IntRange(1),
    default=224,
    show_default=True,
    help="Side of the square image, in pixels.",
)
@options.workspace("plugins")
@options.as_json
def command(
    pipeline: str, classes: int, image_size: int, workspace: Workspace, as_json: bool
) -> None:
    """Parameters with their defaults and what is allowed; for a network the layers, their parameters, multiply-adds and memory."""
    from harness.contract import HasLayers
    from harness.render.text import text_table
    from harness.spec import describe, parameters

    resolved = workspace.resolve("pipeline", pipeline)
    entry, build, values, spec = resolved.entry, resolved.build, resolved.values, resolved.spec
    module_doc = inspect.cleandoc(entry.load().__doc__ or "")
    known = parameters(build)
    click.echo(
        f"{spec}\n{entry.family}, {entry.origin}, source {entry.source_hash}\n\n{module_doc}\n"
    )
    rows = [
        [
            name,
            str(values[name]),
            "-" if p.default is p.empty else str(p.default),
            describe(p.annotation),
        ]
        for name, p in known.items()
    ]
    click.echo(
        text_table(["parameter", "value", "default", "allowed"], rows, left=4)
        if rows
        else "no parameters"
    )
    made = resolved.make()
    table = made.layers(classes, (image_size, image_size)) if isinstance(made, HasLayers) else []
    table = [{**layer, "output_bytes": VALUE * prod(layer["output"])} for layer in table]
    totals = (
        {
            key: sum(layer[key] for layer in table)
            for key in ("parameters", "multiply_adds", "output_bytes")
        }
        if table
        else {}
    )
    if table:
        click.echo(
            f"\n{classes} classes, images of {image_size} x {image_size}, one view of one image:\n"
        )
        lines = [[x["name"], " x ".join(map(str, x["output"])), *_costs(x)] for x in table]
        lines.append(["total", "", *_costs(totals)])
        click.echo(
            text_table(
                ["layer", "output", "parameters", "multiply-adds", "output MB"], lines, left=2
            )
        )
        click.echo(_memory(totals))
    if as_json:
        options.print_json(
            {
                "pipeline": spec,
                "family": entry.family,
                "origin": entry.origin,
                "source_hash": entry.source_hash,
                "defaults": {
                    name: p.default for name, p in known.items() if p.default is not p.empty
                },
                "allowed": {name: describe(p.annotation) for name, p in known.items()},
                "layers": table,
                **totals,
            }
        )


def _costs(layer: dict[str, int]) -> list[str]:
    return [
        f"{layer['parameters']:,}",
        f"{layer['multiply_adds']:,}",
        f"{layer['output_bytes'] / MEGABYTE:.3f}",
    ]


def _memory(totals: dict[str, int]) -> str:
    """What float32 numbers of these counts take; activation functions and what libraries set aside come on top."""
    parameters, outputs = VALUE * totals["parameters"] / MEGABYTE, totals["output_bytes"] / MEGABYTE
    training = COPIES * parameters + BATCH * outputs
    return (
        f"\nmemory     {parameters:,.1f} MB of parameters; training on {BATCH} images at least {training:,.0f} MB: parameters, gradients and "
        f"velocities, and each layer's output for the way back"
    )
