"""`ooml serve`: the server alone, settings from ``OOML_*`` and the command line."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from serving.settings import Settings


def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on. Default: OOML_HOST, else 127.0.0.1.")] = None,
    port: Annotated[int | None, typer.Option(help="gRPC port; 0 picks a free one. Default: OOML_PORT, else 50051.")] = None,
    workers: Annotated[int | None, typer.Option(help="Serving processes, all on the one port. Default: OOML_WORKERS, else 1.")] = None,
    insecure: Annotated[bool, typer.Option("--insecure", help="Listen in clear where others reach it: a proxy speaks TLS for it.")] = False,
    settings_: Annotated[bool, typer.Option("--settings", is_eager=True, help="Explain every OOML_ variable, and end.")] = False,
) -> None:
    """Serve decisions, on a Redis that runs. Prints `ooml serving grpc=HOST:PORT ...` once it listens; logs go to stderr.

    Every setting is a variable `OOML_<NAME>`: see `ooml serve --settings`. Ctrl-C or SIGTERM: calls in flight finish first.
    """
    if settings_:
        _explain()
        return
    from serving import logs
    from serving.settings import SettingsError, check_door, load
    from serving.supervisor import PortTaken

    try:
        settings = load(host=host, port=port, workers=workers, insecure=insecure or None)
        check_door(settings)
    except SettingsError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from None
    logs.configure(settings, process="supervisor")
    try:
        code = asyncio.run(_serve(settings))
    except PortTaken as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None
    raise typer.Exit(code)


def _explain() -> None:
    from pydantic import SecretStr
    from rich.console import Console
    from rich.table import Table

    from serving.settings import PREFIX, Settings

    table = Table("variable", "default", "what it is", box=None, padding=(0, 2, 0, 0))
    for name, field in Settings.model_fields.items():
        default = field.default
        shown = default.get_secret_value() if isinstance(default, SecretStr) else default
        table.add_row(PREFIX + name.upper(), "" if shown is None else str(shown), field.description)
    Console(highlight=False, markup=False).print(table)


async def _serve(settings: Settings) -> int:
    from serving.fleet import fleet
    from serving.supervisor import stop_on_signals

    def listening() -> None:
        metrics = f" metrics={server.metrics}" if server.metrics else ""
        print(f"ooml serving grpc={server.grpc} redis={settings.redis_address} workers={settings.workers}{metrics}", flush=True)

    with fleet(settings, listening) as server:
        stop_on_signals(server.supervisor)
        return await server.supervisor.run()
