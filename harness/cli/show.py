"""`harness show`: a pipeline's parameters, and a network's layers."""

from __future__ import annotations

import inspect

import click

from harness.cli import options


@click.command()
@click.argument("pipeline", metavar="SPEC", shell_complete=options.complete_pipeline)
@click.option("--classes", type=click.IntRange(2), default=1000, show_default=True, help="Classes of the network's last layer.")
@click.option("--image-size", type=click.IntRange(1), default=224, show_default=True, help="Side of the square image, in pixels.")
@options.plugins
@options.as_json
def command(pipeline: str, classes: int, image_size: int, plugins: tuple[str, ...], as_json: bool) -> None:
    """Parameters with their defaults and what is allowed; for a network the layers, their parameters and multiply-adds."""
    from harness.registry import Registry
    from harness.report.text import text_table
    from harness.spec import describe, parameters

    entry, build, values, spec = Registry(plugins).resolve("pipeline", pipeline)
    module_doc = inspect.cleandoc(entry.load().__doc__ or "")
    known = parameters(build)
    click.echo(f"{spec}\n{entry.family}, {entry.origin}, source {entry.source_hash}\n\n{module_doc}\n")
    rows = [[name, str(values[name]), str(p.default), describe(p.annotation)] for name, p in known.items()]
    click.echo(text_table(["parameter", "value", "default", "allowed"], rows, left=4) if rows else "no parameters")
    layers = getattr(build(**values), "layers", None)
    table = layers(classes, (image_size, image_size)) if layers else []
    totals = {key: sum(layer[key] for layer in table) for key in ("parameters", "multiply_adds")} if table else {}
    if table:
        click.echo(f"\n{classes} classes, images of {image_size} x {image_size}:\n")
        lines = [
            [x["name"], " x ".join(map(str, x["output"])), f"{x['parameters']:,}", f"{x['multiply_adds']:,}"] for x in table
        ]  # fmt: skip
        lines.append(["total", "", f"{totals['parameters']:,}", f"{totals['multiply_adds']:,}"])
        click.echo(text_table(["layer", "output", "parameters", "multiply-adds"], lines, left=2))
    if as_json:
        options.print_json(
            {
                "pipeline": spec,
                "family": entry.family,
                "origin": entry.origin,
                "source_hash": entry.source_hash,
                "defaults": {name: p.default for name, p in known.items()},
                "allowed": {name: describe(p.annotation) for name, p in known.items()},
                "layers": table,
                **totals,
            }
        )
