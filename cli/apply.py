"""`ooml apply`: publish the policies of a folder."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from cli.policy_files import PolicyFile, PolicyFilesError
    from cli.publish import Compiled, Intent, Proposal
    from serving.settings import Settings
    from serving.versions import Published

DEFAULT_FEATURE_REPO = Path("feature_repo")


def apply(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of policy files (*.yaml), or one of them.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would change; publish nothing.")] = False,
    live: Annotated[bool, typer.Option("--live", help="Replace live versions at once; needs --reason.")] = False,
    reason: Annotated[str, typer.Option(help="Why; kept with the version.")] = "",
    dev: Annotated[
        bool | None,
        typer.Option("--dev/--prod", help="Whether changes go live without --live. Default: --dev if Redis is on this machine."),
    ] = None,
    accept_feature_change: Annotated[
        bool, typer.Option("--accept-feature-change", help="Let policies move to features whose names or types changed; they start over.")
    ] = False,
    redis_url: Annotated[str | None, typer.Option(help="Where to publish. Default: OOML_REDIS_URL, else redis://127.0.0.1:6379/0.")] = None,
    feature_repo: Annotated[
        Path | None,
        typer.Option(help="Compile feature services from this Feast repository. Default: ./feature_repo, if a service is not published."),
    ] = None,
) -> None:
    """Publish the policies of a folder, all or none; running servers take them up within two seconds.

    Every mistake of every file is listed with its line. A policy that is live already becomes a *candidate* version,
    except in development or with `--live --reason`: nobody's traffic changes by accident.
    Applying an older file again is a rollback: same declaration, same version, same evidence.

    **Examples**

    `ooml apply policy_repo --dry-run` shows what would change.

    `ooml apply policy_repo` publishes it.

    `ooml apply policy_repo --live --reason "alpha 0.5 won the test"` puts it before everyone.
    """
    from rich.console import Console

    from cli.policy_files import PolicyFilesError, read_folder
    from cli.publish import Intent
    from serving.settings import SettingsError, load

    if live and not reason.strip():
        raise typer.BadParameter("--live changes what people get: say why with --reason TEXT")
    out, err = Console(highlight=False), Console(stderr=True, highlight=False)
    try:
        settings = load(redis_url=redis_url, feature_repo=feature_repo)
        files = read_folder(folder)
    except PolicyFilesError as error:
        _refuse(err, error)
    except SettingsError as error:
        _fail(err, str(error))
    development = dev if dev is not None else _development(settings)
    intent = Intent(live or development, reason, accept_feature_change, time.time())
    asyncio.run(_apply(settings, files, intent, dry_run=dry_run, out=out, err=err))


async def _apply(settings: Settings, files: tuple[PolicyFile, ...], intent: Intent, *, dry_run: bool, out: Console, err: Console) -> None:
    from cli.diff import show
    from cli.policy_files import PolicyFilesError
    from cli.publish import prepare, publish
    from serving.ports import StoreError, Unavailable
    from serving.redis.connect import connect
    from serving.redis.published import load

    client = connect(settings.redis_url.get_secret_value(), cluster=settings.redis_cluster, timeout_s=settings.redis_timeout_s)
    try:
        published = await load(client)
        for problem in published.problems:
            err.print(f"warning: {problem.record} cannot be read ({problem.error})", style="yellow", markup=False, soft_wrap=True)
        proposal = prepare(published, files, _compiled(settings, files, published, err), intent)
        for change in proposal.changes:
            show(out, change)
        if not dry_run:
            await publish(client, proposal)
        out.print(_summary(proposal, dry_run=dry_run), style="bold")
    except PolicyFilesError as error:
        _refuse(err, error)
    except Unavailable as error:
        _fail(
            err, f"{error} at {settings.redis_address} ({error.__cause__}). Is it running? `ooml up` starts one; --redis-url names another."
        )
    except StoreError as error:
        _fail(err, str(error))
    finally:
        await client.aclose()


def _compiled(settings: Settings, files: tuple[PolicyFile, ...], published: Published, err: Console) -> Compiled:
    """Plans compiled here: of the repository that was named, or of ./feature_repo when a service is not published. Feast takes seconds."""
    from cli.publish import Compiled, services_of

    repo, services = settings.feature_repo, services_of(files)
    if repo is None:
        repo, services = DEFAULT_FEATURE_REPO, services - published.plans.keys()
    if not services or not (repo / "feature_store.yaml").is_file():
        return Compiled()
    from cli.feature_services import FeatureRepoError, compile_services

    err.print(f"compiling the feature services of {repo} ...", style="dim", markup=False)
    try:
        return compile_services(repo)
    except FeatureRepoError as error:
        return Compiled(problems=dict.fromkeys(services, str(error)))


def _development(settings: Settings) -> bool:
    from urllib.parse import urlsplit

    from serving.settings import is_loopback

    if settings.mode is not None:
        return settings.mode == "development"
    return is_loopback(urlsplit(settings.redis_url.get_secret_value()).hostname or "")


def _summary(proposal: Proposal, *, dry_run: bool) -> str:
    from serving.versions import Outcome

    count = sum(change.is_new or change.head is not None for change in proposal.changes)
    if dry_run:
        return f"dry run: {count} of {len(proposal.changes)} policies would be published; nothing was"
    if not count:
        return "nothing to publish: all is as declared"
    live = sum(change.outcome is Outcome.LIVE for change in proposal.changes)
    return f"published {count}: {live} live, {count - live} as candidates"


def _refuse(err: Console, error: PolicyFilesError) -> NoReturn:
    for mistake in error.mistakes:
        err.print(str(mistake), markup=False, soft_wrap=True)
    _fail(err, f"nothing was published: {len(error.mistakes)} mistake{'s' * (len(error.mistakes) != 1)} to mend")


def _fail(err: Console, text: str) -> NoReturn:
    err.print(text, style="bold red", markup=False, soft_wrap=True)
    raise typer.Exit(1)
