"""``ooml serve``: the server alone, settings from ``OOML_*`` and the command line."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from serving import logs
from serving.fleet import fleet
from serving.settings import Settings, SettingsError, load
from serving.supervisor import PortTaken, stop_on_signals


def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on. [OOML_HOST]")] = None,
    port: Annotated[int | None, typer.Option(help="gRPC port; 0 picks a free one. [OOML_PORT]")] = None,
    workers: Annotated[int | None, typer.Option(help="Serving processes, all on the one port. [OOML_WORKERS]")] = None,
) -> None:
    """Serve decisions: the server alone, on a Redis that runs. Every other setting is a variable OOML_<NAME>."""
    try:
        settings = load(host=host, port=port, workers=workers)
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


async def _serve(settings: Settings) -> int:
    def listening() -> None:
        parts = [f"grpc={server.grpc}", f"redis={settings.redis_address}", f"workers={settings.workers}"]
        print("ooml serving", *parts, *([f"metrics={server.metrics}"] if server.metrics else []), flush=True)

    with fleet(settings, listening) as server:
        stop_on_signals(server.supervisor)
        return await server.supervisor.run()
