"""``customer360 demo ...``: start, look at, move on, disturb and remove the demo company.

What belongs here: options, messages and tables for people. What does not: how anything is done
(``customer360.demo.systems``).
"""

import json
import time
from typing import Any

import click

from customer360.demo.systems.layout import State, default_layout
from customer360.demo.systems.world import FILES, HTTP, POSTGRES, SYSTEMS

SIZES = ("small", "medium", "large")

BEGAN = time.monotonic()


def report(text: str) -> None:
    """Progress for people, beside the answer, with the seconds since the command began."""
    click.echo(f"{time.monotonic() - BEGAN:6.1f} s  {text}", err=True)


def answer(content: dict[str, Any]) -> None:
    """The one JSON object of a command."""
    click.echo(json.dumps(content, ensure_ascii=False))


@click.group()
def demo() -> None:
    """A company to try it on: ten living systems.

    Example: customer360 demo start && customer360 demo advance --days 7
    """


@demo.command()
@click.option("--size", type=click.Choice(SIZES), help="2 k, 100 k or 1 M persons; default small.")
@click.option("--seed", type=int, help="Another seed is another company; default 42.")
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    help="Of the web services; default 8360, or a free one.",
)
@click.option(
    "--postgres-url",
    envvar="CUSTOMER360_DEMO_POSTGRES_URL",
    help="Use this PostgreSQL server instead of the embedded one.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def start(
    size: str | None,
    seed: int | None,
    port: int | None,
    postgres_url: str | None,
    as_json: bool,
) -> None:
    """Make the company if it is not there yet, and start its systems.

    Example: customer360 demo start --size small --seed 42
    """
    from customer360.demo.systems import company

    layout = default_layout()
    is_new = not layout.state.exists()
    state = company.start(
        layout, size=size, seed=seed, port=port, postgres_url=postgres_url, report=report
    )
    if as_json:
        answer(describe(state) | {"seconds": state.seconds})
        return
    click.echo(f"The company lives: {state.size}, seed {state.seed}, evening of {date_of(state)}.")
    if is_new:
        steps = ", ".join(f"{name} {value:.1f}" for name, value in state.seconds.items())
        click.echo(f"Seconds it took: {steps}.")
    show_connections(state)


@demo.command()
def stop() -> None:
    """Stop the systems; what they hold stays.

    Example: customer360 demo stop
    """
    from customer360.demo.systems import company

    stopped = company.stop(default_layout())
    click.echo("The systems are stopped." if stopped else "There is no demo company.")


@demo.command()
@click.option("--days", type=click.IntRange(min=1), default=1, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def advance(days: int, as_json: bool) -> None:
    """Let days pass in every system.

    Example: customer360 demo advance --days 7
    """
    from customer360.demo.systems import company

    state = company.advance(default_layout(), days, report)
    if as_json:
        answer(describe(state))
    else:
        click.echo(f"It is the evening of {date_of(state)}.")


@demo.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
@click.option("--truth", is_flag=True, help="Add how hard the company is, and the mess in it.")
def status(as_json: bool, truth: bool) -> None:
    """Rows of each system, counted by the system itself.

    Example: customer360 demo status --truth
    """
    from customer360.demo.systems import company

    layout = default_layout()
    state = company.whole(layout)
    content = describe(state) | {
        "running": company.running(layout, state),
        "systems": company.count_rows(layout, state),
    }
    if truth:
        from customer360.demo.world.hardness import hardness

        content["truth"] = hardness(layout.world, layout.truth)
    if as_json:
        answer(content)
        return
    click.echo(f"{state.size} company, seed {state.seed}, evening of {content['date']}", err=True)
    show_counts(content["systems"])
    show_connections(state)
    if truth:
        show_truth(content["truth"])


@demo.command()
@click.option("--leave-databases", is_flag=True, help="Do not ask another server to drop ours.")
def reset(leave_databases: bool) -> None:
    """Stop and remove the demo company, whole or half-made; nothing else is touched.

    Example: customer360 demo reset
    """
    from customer360.demo.systems import company

    removed = company.reset(default_layout(), leave_databases=leave_databases)
    click.echo("The demo company is removed." if removed else "There is no demo company.")


@demo.command(name="hash")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def hash_command(as_json: bool) -> None:
    """Content hash of each table as its system shows it, and of the truth.

    Example: customer360 demo hash --json > before.json
    """
    from customer360.demo.systems import company

    layout = default_layout()
    hashes = company.content_hashes(layout, company.whole(layout))
    if as_json:
        answer(hashes)
        return
    for system, tables in hashes.items():
        for name, digest in tables.items():
            click.echo(f"{digest}  {system}.{name}")


@demo.command()
@click.argument("system", type=click.Choice(SYSTEMS))
@click.argument("table", required=False)
@click.option("--rows", type=click.IntRange(1, 1000), default=10, show_default=True)
def show(system: str, table: str | None, rows: int) -> None:
    """Ten rows of a system's tables as a person would read them.

    Example: customer360 demo show crm persons
    """
    from customer360.demo.systems import company

    layout = default_layout()
    state = company.whole(layout)
    with company.open_world(layout) as world:
        tables = [world.table(system, table)] if table else world.tables(system)
    for each in tables:
        names, lines = company.sample(layout, state, each, rows)
        click.echo(f"\n{system}.{each.name}: {each.comment}")
        show_rows(names, lines)


@demo.command()
@click.argument("system", type=click.Choice([*SYSTEMS, "hooks", "crm_desk"]))
@click.option("--token", is_flag=True, help="The token of a web service instead of its address.")
def url(system: str, token: bool) -> None:
    """Print how to reach a system, its secret included, for use in another command.

    Example: psql "$(customer360 demo url crm)" -c "select * from persons limit 5"
    """
    from customer360.demo.systems import read_connections

    connection = read_connections()[system]
    if token and not connection.token:
        raise click.UsageError(f"{system} has no token: only {', '.join(HTTP)} and hooks have one")
    click.echo(connection.token if token else connection.url)


@demo.command()
@click.argument("system", type=click.Choice([*HTTP, "hooks"]), required=False)
@click.option(
    "--kind",
    type=click.Choice(["error", "reset", "slow", "half", "wrong-length", "repeated-cursor"]),
    help="What goes wrong.",
)
@click.option("--times", type=click.IntRange(min=0), default=1, show_default=True, help="0: always")
@click.option("--after", type=click.IntRange(min=0), default=0, show_default=True, help="answers")
@click.option("--seconds", type=float, default=5.0, show_default=True, help="For slow answers.")
@click.option("--off", is_flag=True, help="Switch all faults off.")
def fault(
    system: str | None, kind: str | None, times: int, after: int, seconds: float, off: bool
) -> None:
    """Let a web service fail: as it is asked for, or show what is switched on.

    Example: customer360 demo fault callcentre --kind reset --after 3
    """
    import httpx

    from customer360.demo.systems import company
    from customer360.demo.systems.layout import load_secrets

    layout = default_layout()
    state = company.whole(layout)
    order = {"system": system, "kind": kind, "times": times, "after": after, "seconds": seconds}
    if (system is None) != (kind is None):
        raise click.UsageError("a fault needs a system and a --kind")
    method = "DELETE" if off else "POST" if kind else "GET"
    try:
        reply = httpx.request(
            method,
            f"http://127.0.0.1:{state.port}/admin/faults",
            headers={"Authorization": f"Bearer {load_secrets(layout)['admin']}"},
            json=order if method == "POST" else None,
            trust_env=False,
        )
        reply.raise_for_status()
    except httpx.HTTPError as error:
        raise click.ClickException(
            f"the web server does not take the order ({type(error).__name__}); "
            "`customer360 demo start` starts it"
        ) from error
    answer({"faults": reply.json()})


def describe(state: State) -> dict[str, Any]:
    """What every JSON answer says of the demo; ``day`` counts from the start."""
    return {
        "size": state.size,
        "seed": state.seed,
        "day": state.day - state.start_day,
        "date": date_of(state),
        "unfinished_advance": state.advancing_to is not None,
    }


def date_of(state: State) -> str:
    """Calendar date that the systems show."""
    from customer360.demo.systems import company

    with company.open_world(default_layout()) as world:
        return world.date_of(state.day).isoformat()


def show_counts(systems: dict[str, dict[str, int]]) -> None:
    """A line a system, with its tables."""
    total = 0
    for system, tables in systems.items():
        rows = sum(tables.values())
        total += rows
        listed = ", ".join(f"{name} {count:,}" for name, count in tables.items())
        click.echo(f"{system:<11}{rows:>13,}  {listed}")
    click.echo(f"{'all':<11}{total:>13,}")


def show_connections(state: State) -> None:
    """Commands that read each kind of system; no secret is printed."""
    from customer360.demo.systems import company, postgres

    layout = default_layout()
    server = postgres.open_server(layout, state.postgres_url)
    psql = server.psql if isinstance(server, postgres.EmbeddedServer) else "psql"
    click.echo(
        f"\n{', '.join(POSTGRES)}:\n"
        f"  {psql} \"$(customer360 demo url crm)\" -c 'select * from persons limit 5'\n"
        f"{', '.join(HTTP)}:\n"
        '  curl -H "Authorization: Bearer $(customer360 demo url callcentre --token)" '
        '"$(customer360 demo url callcentre)/tickets?page=1&per_page=5"\n'
        f"{', '.join(FILES)}:\n"
        f"  {layout.files}",
        err=True,
    )
    servers = company.running(layout, state)
    stopped = [system for system, runs in servers.items() if not runs]
    if stopped:
        alive = [system for system, runs in servers.items() if runs]
        click.echo(
            f"Stopped: {', '.join(stopped)}"
            + (f" ({', '.join(alive)} run)" if alive else "")
            + "; `customer360 demo start` starts them. Files can always be read.",
            err=True,
        )


def show_rows(names: list[str], lines: list[tuple[object, ...]]) -> None:
    """A table where it fits the screen, else a block a row."""
    from rich.console import Console
    from rich.table import Table

    table = Table(*names, show_lines=False, pad_edge=False)
    for line in lines:
        table.add_row(*("" if value is None else cell(value) for value in line))
    # Measured on an endless line: on its own a table is never wider than the screen.
    if Console(width=10_000).measure(table).maximum <= Console().width:
        Console().print(table)
        return
    for line in lines:
        parts = [
            f"{name}: {cell(value)}"
            for name, value in zip(names, line, strict=True)
            if value is not None
        ]
        click.echo("- " + " | ".join(parts))


def cell(value: object) -> str:
    """A value as text; nested ones as JSON."""
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False)
    return str(value)


def show_truth(truth: dict[str, Any]) -> None:
    """How hard the company is, and each kind of mess: asked for and planted."""
    click.echo("\nThe truth")
    for name, value in truth.items():
        if isinstance(value, list) and value:
            click.echo(f"\n{name}")
            show_rows(list(value[0]), [tuple(row.values()) for row in value])
        else:
            click.echo(f"{name:<40}{value}")
