"""``python -m customer360_airflow.local``: the commands behind ``make run``, ``up``, ``down``."""

import datetime as dt
import os
import signal
import sys
import time
from pathlib import Path
from zoneinfo import ZoneInfo

import click

from customer360.declarations import check_day, declared_sources
from customer360.exceptions import ConfigError, Customer360Error
from customer360.settings import load_settings
from customer360_airflow import names
from customer360_airflow.local.client import Client
from customer360_airflow.local.instance import Instance, Mode, PortTakenError, Running
from customer360_airflow.local.run import Drive, wait_until_ready

DEMO = "demo"
"""The company whose systems are started with it."""


def say(line: str) -> None:
    """Progress goes to standard error at once."""
    click.echo(line, err=True)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def cli() -> None:
    """A local Airflow in the project folder, for one person."""


@cli.command()
@click.option("--as-of", metavar="YYYY-MM-DD", help="The as-of day; by default the newest one.")
def run(as_of: str | None) -> None:
    """Take one as-of day through the whole chain, then stop.

    Example: COMPANY=complete_journey python -m customer360_airflow.local run --as-of 2017-12-31
    """
    is_demo = load_settings().company == DEMO
    if is_demo:
        _start_demo()
    _drive([_day(as_of) if as_of else _newest_day()])
    if is_demo:
        say(
            "Let a day pass in every system with `customer360 demo advance`, then `make run` again."
        )


@cli.command()
@click.option("--from", "first", metavar="YYYY-MM-DD", required=True, help="First as-of day.")
@click.option("--to", "last", metavar="YYYY-MM-DD", required=True, help="Last as-of day.")
@click.option("--every", default=1, show_default=True, help="Days from one as-of day to the next.")
def backfill(first: str, last: str, every: int) -> None:
    """Take every day of a range through the whole chain, in whatever order they arrive.

    Example: python -m customer360_airflow.local backfill --from 2017-12-01 --to 2017-12-29
    --every 7
    """
    begin, end = _day(first), _day(last)
    if end < begin or every < 1:
        raise ConfigError(f"--from {begin} --to {end} --every {every}: holds no day.")
    count = (end - begin).days // every + 1
    _drive([begin + dt.timedelta(days=every * step) for step in range(count)])


@cli.command()
def up() -> None:
    """Start Airflow with its web interface and leave it running.

    Example: python -m customer360_airflow.local up
    """
    instance = Instance.of(load_settings())
    with instance.kept_to_one():
        running = instance.running()
        if running is None or running.mode != "up":
            try:
                running, client = _started(instance, "up", [8080, 0])
                client.unpause()
                if cut_off := instance.taken_up():
                    say(f"going on with what was cut off: {', '.join(cut_off)}")
            except BaseException:
                instance.stop()
                raise
    click.echo(
        f"Airflow is at {running.url}\n"
        f"  user admin, password {instance.password}\n"
        "  make down stops it"
    )


@cli.command()
def down() -> None:
    """Stop Airflow and everything it started.

    Example: python -m customer360_airflow.local down
    """
    instance = Instance.of(load_settings())
    with instance.kept_to_one():
        click.echo(f"stopped ({instance.stop()} processes)")


@cli.command(context_settings={"ignore_unknown_options": True, "allow_extra_args": True})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def airflow(arguments: tuple[str, ...]) -> None:
    """Run Airflow's own command line on the running instance.

    Example: python -m customer360_airflow.local airflow backfill create --dag-id ingest_till
    --from-date 2017-12-01 --to-date 2017-12-07T23:59:59
    """
    instance = Instance.of(load_settings())
    running = instance.running()
    if running is None:
        raise Customer360Error("Airflow is not running here: start it with make up.")
    environment = instance.environment(running.mode, running.port, running.task_port)
    program = str(Path(sys.executable).with_name("airflow"))
    os.execve(program, [program, *arguments], environment)  # noqa: S606, our own Airflow


def _start_demo() -> None:
    """See that the demo company's systems are there and run.

    SIZE in the environment is the size of a demo that is made now.
    """
    from customer360.demo.systems import company
    from customer360.demo.systems.layout import default_layout

    began = time.monotonic()
    company.start(default_layout(), size=os.environ.get("SIZE") or None, report=say)
    say(f"the demo's systems run ({time.monotonic() - began:.0f} s)")


def _drive(days: list[dt.date]) -> None:
    """Take ``days`` through the instance that is up, or one that is started for it."""
    from customer360 import pipeline, run_status

    settings = load_settings()
    pipeline.check_configuration(settings)
    for day in days:
        check_day(settings, day)
    sources = [source.name for source in declared_sources(settings)]
    instance = Instance.of(settings)
    begun = time.monotonic()
    with instance.kept_to_one():
        running = instance.running()
        shared = running is not None and running.mode == "up"
        try:
            drive = _connected(instance, running if shared else None, begun)
            ready = time.monotonic() - begun
            done = drive.days([day.isoformat() for day in days], sources)
            failures = drive.failures(done)
        finally:
            stopping = time.monotonic()
            if not shared:
                instance.stop()
    ended = time.monotonic()
    if failures:
        raise Customer360Error("\n".join(failures))
    click.echo(run_status.format_summary(run_status.status(settings)))
    busy = drive.seconds_with_a_task()
    click.echo(
        f"{ended - begun:.0f} s in all: {drive.own_seconds:.0f} s of the steps' own work "
        f"(some of it side by side), of {busy:.0f} s in which tasks ran; Airflow took "
        f"{ready:.0f} s to start, {stopping - begun - ready - busy:.0f} s between tasks "
        f"and {ended - stopping:.0f} s to stop."
    )


def _connected(instance: Instance, running: Running | None, begun: float) -> Drive:
    """A drive on the running instance, or on one started now, with every DAG switched on."""
    if running is None:
        say(f"starting Airflow in .airflow/{instance.settings.company} ...")
        running, client = _started(instance, "run", [0, 0])
    else:
        say(f"using the Airflow at {running.url}")
        since = dt.datetime.min.replace(tzinfo=dt.UTC)
        client = wait_until_ready(instance, running, None, since)
    client.unpause()
    if running.mode == "run":
        # Its run would be cut off when this command ends; the build trains what has no model yet.
        client.pause(names.TRAIN)
    drive = Drive(client, instance.logs_dir, say)
    drive.begun = begun
    say(f"{time.monotonic() - begun:7.1f} s  Airflow is ready")
    return drive


def _started(instance: Instance, mode: Mode, ports: list[int]) -> tuple[Running, Client]:
    """Start the instance; where another program takes the port meanwhile, with the next one."""
    since = dt.datetime.now(dt.UTC)
    running, process = instance.start(mode, ports[0])
    try:
        return running, wait_until_ready(instance, running, process, since)
    except PortTakenError:
        instance.stop()
        if not ports[1:]:
            raise
    return _started(instance, mode, ports[1:])


def _day(text: str) -> dt.date:
    try:
        return dt.date.fromisoformat(text)
    except ValueError:
        raise ConfigError(f"'{text}' is not a day such as 2017-12-31.") from None


def _newest_day() -> dt.date:
    """The last as-of day of data that have ended, else the company's yesterday."""
    sources = declared_sources(load_settings())
    ends = [source.end for source in sources if source.end is not None]
    if len(ends) == len(sources):
        return max(ends)
    return dt.datetime.now(ZoneInfo(sources[0].timezone)).date() - dt.timedelta(days=1)


def main() -> None:
    """Run a command; an error that a user can mend is its text and exit code 1."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        cli.main(standalone_mode=False)
    except (click.exceptions.Abort, KeyboardInterrupt):
        say("stopped")
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except Customer360Error as error:
        say(f"error: {error}")
        sys.exit(1)


if __name__ == "__main__":
    main()
