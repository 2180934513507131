"""The `ooml` command. One line here for each of its commands; what a command needs is imported when it runs."""

from __future__ import annotations

import typer

from cli.apply import apply
from cli.audit import audit
from cli.demo import demo
from cli.events import relay, sink
from cli.keys import app as keys
from cli.outcomes import outcomes
from cli.rebuild import rebuild
from cli.serve import serve
from cli.skew import skew
from cli.up import command as up

app = typer.Typer(
    name="ooml",
    help="Serves decisions and learns from them.",
    epilog="Start with `ooml demo`; `ooml COMMAND --help` explains each command with examples.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)


@app.callback()
def _ooml() -> None:
    """Serves decisions and learns from them."""


app.command()(demo)
app.command(name="up")(up)
app.command()(serve)
app.command()(apply)
app.command()(relay)
app.command()(sink)
app.command()(audit)
app.command()(rebuild)
app.command()(skew)
app.command()(outcomes)
app.add_typer(keys, name="keys")
