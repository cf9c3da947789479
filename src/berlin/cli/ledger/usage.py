"""`berlin usage` and `berlin ledger`: what was used and what it cost, and its database."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import click
import msgspec

from berlin.cli.lazy import Group
from berlin.cli.options import config_option
from berlin.cli.terminal import print_exactly
from berlin.ledger.figures import GROUPINGS, Figures, Grouping, Query
from berlin.ledger.period import parse_time
from berlin.routing.counters.calendar import zone_of


def _parse(ctx: click.Context, param: click.Parameter, value: str | None) -> datetime | None:
    if value is None:
        return None
    try:
        return parse_time(value, datetime.now(UTC), ctx.params.get("zone", "UTC"))
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def _zone(ctx: click.Context, param: click.Parameter, value: str) -> str:
    try:
        zone_of(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
    return value


@click.command()
@click.option("--by", type=click.Choice(GROUPINGS), default="day", show_default=True)
@click.option(
    "--zone",
    default="UTC",
    metavar="ZONE",
    is_eager=True,
    callback=_zone,
    help="Time zone in which days begin, such as Europe/Berlin.",
)
@click.option(
    "--since",
    default="30d",
    show_default=True,
    metavar="TIME",
    callback=_parse,
    help="A date, a time, or an age such as 12h, 7d or 4w.",
)
@click.option("--until", metavar="TIME", callback=_parse, help="The end, which is not included.")
@click.option("--key", metavar="NAME", help="Only the requests of this key, by name or id.")
@click.option("--csv", "form", flag_value="csv", help="Print comma-separated values.")
@click.option("--json", "form", flag_value="json", help="Print one JSON object.")
@config_option
def usage(
    by: Grouping,
    zone: str,
    since: datetime | None,
    until: datetime | None,
    key: str | None,
    form: str | None,
    config: Path | None,
) -> None:
    """Show what was used through `berlin serve`, and what it cost.

    It reads the ledger, which `[ledger]` in the configuration turns on. The bars show the cost, or
    the tokens if nothing has a price. Counts marked with ~ contain estimates.
    """
    from berlin.cli.ledger import report
    from berlin.config import load_config
    from berlin.ledger.open import read_sums

    settings = load_config(config).ledger
    if settings is None:
        raise click.UsageError("there is no ledger: add a table [ledger] to the configuration")
    if since is not None and until is not None and until <= since:
        raise click.BadParameter("it is not after --since", param_hint="--until")
    names = _names_of_keys(config)
    query = Query(by=by, since=since, until=until, key=_id_of(key, names), zone=zone)
    groups = [_named(group, by, names) for group in read_sums(settings, os.environ, query)]
    match form:
        case "csv":
            print_exactly(report.as_csv(groups, by))
        case "json":
            click.echo(report.as_json(groups, query, settings.currency))
        case _:
            report.show(groups, by, settings.currency)
            if not groups and key is not None and _id_of(key, names) not in names:
                click.echo(f"No key is named {key!r}: see `berlin key list`.", err=True)


def _names_of_keys(config: Path | None) -> dict[str, str]:
    """Return the name of each key by its id."""
    from berlin.cli.gateway.key import key_store

    return {key.id: key.name for key in key_store(config).entries()}


def _id_of(name: str | None, names: dict[str, str]) -> str | None:
    # The last one: a revoked key's name may have been given to another one.
    found = [id for id, known in names.items() if known == name]
    return found[-1] if found else name


def _named(group: Figures, by: Grouping, names: dict[str, str]) -> Figures:
    if by != "key":
        return group
    id = group.group
    name = names.get(id)
    return msgspec.structs.replace(group, group=id if name is None else f"{name} ({id})")


@click.group(cls=Group)
def ledger() -> None:
    """Manage the ledger, in which `berlin serve` stores a row for each request.

    The table `[ledger]` of the configuration says where it is.
    """


@ledger.command()
@config_option
def upgrade(config: Path | None) -> None:
    """Create the ledger's tables, or bring them to this release.

    `berlin serve` does not start while this is due. Upgrade before you start the new
    release: the old one can keep writing. Running it again changes nothing.
    """
    from berlin.config import LedgerConfig, load_config
    from berlin.ledger.open import upgrade_ledger

    before, after = upgrade_ledger(load_config(config).ledger or LedgerConfig(), os.environ)
    if before == after:
        click.echo(f"The ledger is up to date (revision {after}).")
    else:
        click.echo(f"The ledger is upgraded from revision {before or 'none'} to {after}.")
