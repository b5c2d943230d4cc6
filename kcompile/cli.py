"""The command line: `kcompile demo`, `kcompile dump`, `kcompile report`, `kcompile export`.

Each command is a few lines over a function that Python users have too. Refuses to hold logic of its own.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import kcompile.config as config
import kcompile.demo as demo_run
from codegen.pipeline import TARGETS
from kcompile.compile_report import compile_report
from kcompile.dump import FORMATS, STAGES, dump_ir
from kcompile.errors import KCError
from kcompile.export import export as export_model
from kcompile.export import verify
from kcompile.saving.loading import load_model
from kcompile.step import KINDS
from kcompile.target import DEVICES, EVERY


def main() -> None:
    """The entry point of the `kcompile` command. Errors a user can mend are shown without a traceback."""
    try:
        _commands()()
    except KCError as e:
        sys.stderr.write(f"kcompile: {e}\n")
        raise SystemExit(1) from None


def _commands() -> Any:
    import click

    @click.group(help="A graph compiler from Keras models to optimized kernels.")
    @click.version_option(config.VERSION, prog_name="kcompile")
    def kcompile() -> None:
        pass

    @kcompile.command(help="Train a CNN on digits, report, dump its IR, export and verify it.")
    @click.option("--out", default="demo_out", show_default=True, help="Folder for what it writes.")
    @click.option("--epochs", default=None, type=int, help="Epochs of training.")
    @click.option("--device", type=click.Choice(DEVICES), default="auto", show_default=True)
    @click.option(
        "--backend", type=click.Choice(EVERY), default=None, help="Else the device's own."
    )
    def demo(out: str, epochs: int | None, device: str, backend: str | None) -> None:
        config.set_target(device, backend)
        demo_run.run(out, epochs)

    @kcompile.command(help="Print a model's IR at a stage of its compilation.")
    @click.argument("file", type=click.Path())
    @click.option("--stage", type=click.Choice(STAGES), default="traced", show_default=True)
    @click.option("--format", "form", type=click.Choice(FORMATS), default="text", show_default=True)
    @click.option("--kind", type=click.Choice(KINDS), default=None,
                  help="Which step; train for a compiled model, else predict.")  # fmt: skip
    @click.option("--batch-size", default=32, show_default=True)
    @click.option("--target", type=click.Choice(tuple(TARGETS)), default=None,
                  help="What kernels are made for; else what the model runs on here.")  # fmt: skip
    @click.option("--measure", is_flag=True, help="Run the kernels and show how long each takes.")
    def dump(
        file: str,
        stage: str,
        form: str,
        kind: str | None,
        batch_size: int,
        target: str | None,
        measure: bool,
    ) -> None:
        click.echo(dump_ir(load_model(file), stage, form, kind, batch_size, target, measure))

    @kcompile.command(help="Print kernels, work and predicted memory of a model's step.")
    @click.argument("file", type=click.Path())
    @click.option("--kind", type=click.Choice(KINDS), default=None,
                  help="Which step; train for a compiled model, else predict.")  # fmt: skip
    @click.option("--batch-size", default=32, show_default=True)
    @click.option("--target", type=click.Choice(tuple(TARGETS)), default=None,
                  help="What kernels are made for; else what the model runs on here.")  # fmt: skip
    @click.option("--measure", is_flag=True, help="Run the kernels and show how long each takes.")
    @click.option("--json", "as_json", is_flag=True, help="Print the same as JSON.")
    def report(
        file: str,
        kind: str | None,
        batch_size: int,
        target: str | None,
        measure: bool,
        as_json: bool,
    ) -> None:
        found = compile_report(load_model(file), kind, batch_size, not as_json, target, measure)
        if as_json:
            click.echo(json.dumps(found, indent=1))

    @kcompile.command(help="Export a .keras file to ONNX and compare both on random data.")
    @click.argument("file", type=click.Path())
    @click.argument("out", type=click.Path())
    @click.option("--no-verify", is_flag=True, help="Skip the comparison.")
    def export(file: str, out: str, no_verify: bool) -> None:
        model = load_model(file)
        export_model(model, out)
        click.echo(f"wrote {out}")
        if not no_verify:
            found = verify(model, out)
            click.echo(f"agrees with the model within {found['error']:.1e} ({found['engine']})")

    return kcompile
