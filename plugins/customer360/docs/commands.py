"""``customer360 docs``: the documentation as pages, and the answers to its questions."""

from pathlib import Path

import click

from customer360.output import JSON_OPTION, print_json
from customer360.settings import load_settings


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def docs() -> None:
    """The warehouse explained: tables, columns, diagram, questions, measures, lineage; offline."""


@docs.command()
@click.option("--out", type=click.Path(path_type=Path), help="Folder; default data/<company>/docs.")
@JSON_OPTION
def build(out: Path | None, as_json: bool) -> None:
    """Write the pages of the published snapshot; open index.html, no server is needed.

    \b
    Example: customer360 docs build
    """
    from customer360.docs import site

    settings = load_settings()
    click.echo("rendering the project and reading the snapshot ...", err=True)
    page = site.build(settings, out or settings.data_dir / "docs")
    if as_json:
        print_json({"page": page})
    else:
        click.echo(page)


@docs.command()
@click.option("--port", default=8380, show_default=True, type=click.IntRange(1, 65535))
def serve(port: int) -> None:
    """Serve the pages on this machine; builds them first where they are not there.

    \b
    Example: customer360 docs serve --port 8380
    """
    import functools
    from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

    from customer360.docs import site

    settings = load_settings()
    folder = settings.data_dir / "docs"
    if not (folder / "index.html").exists():
        site.build(settings, folder)
    handler = functools.partial(SimpleHTTPRequestHandler, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", port), handler) as server:
        click.echo(f"http://127.0.0.1:{port}/index.html (Ctrl+C ends it)", err=True)
        server.serve_forever()


@docs.command()
@click.argument("name", required=False)
@JSON_OPTION
def questions(name: str | None, as_json: bool) -> None:
    """The questions of docs/questions with their answers from the snapshot; NAME: only that one.

    \b
    Example: customer360 docs questions 06
    """
    from customer360 import publish
    from customer360.docs.questions import answer
    from customer360.docs.questions import questions as listed
    from customer360.exceptions import Customer360Error
    from customer360.warehouse import connect

    settings = load_settings()
    wanted = [one for one in listed() if not name or one.name.startswith(name)]
    if not wanted:
        raise Customer360Error(f"no question begins with '{name}'; see docs/questions")
    told = []
    with connect(settings, publish.snapshot_path(settings), read_only=True) as connection:
        for one in wanted:
            columns, rows = answer(connection, one)
            told.append({"name": one.name, "question": one.text, "columns": columns, "rows": rows})
            if not as_json:
                click.echo(f"\n{one.name}: {one.text}")
                for row in [columns, *rows[:30]]:
                    click.echo(
                        "  " + " | ".join("-" if cell is None else str(cell) for cell in row)
                    )
                if len(rows) > 30:
                    click.echo(f"  and {len(rows) - 30} more rows")
    if as_json:
        print_json({"questions": told})
