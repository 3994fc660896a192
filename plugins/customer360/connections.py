"""How to reach a source system: addresses and secrets by the name of an Airflow Connection.

What belongs here: finding a Connection. Inside Airflow, its face of this library looks it up
(``use``); elsewhere the environment (``AIRFLOW_CONN_<NAME>``, a URI or JSON, as Airflow reads it)
and then ``connections.json`` in the company's data folder (name -> URI or object, as Airflow's
local filesystem backend reads it) are asked. What does not: talking to the system. A connection's
text holds secrets: it is never logged and never part of an error.
"""

import json
import os
import urllib.parse
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from customer360.exceptions import ConfigError
from customer360.settings import Settings


@dataclass(frozen=True)
class Connection:
    """An Airflow Connection, without Airflow.

    Attributes:
        kind: Airflow's conn_type: postgres, mysql, http, aws ...
        host: name, address, or folder of a Unix socket; for http it may begin with a scheme.
        extra: everything else, as in Airflow.
    """

    name: str
    kind: str
    host: str | None = None
    port: int | None = None
    login: str | None = None
    password: str | None = field(default=None, repr=False)
    schema: str | None = None
    extra: dict[str, Any] = field(default_factory=dict, repr=False)


Resolver = Callable[[str], Connection]
_resolvers: list[Resolver] = []


def use(resolver: Resolver) -> None:
    """Ask ``resolver`` first from now on in this process; it raises ``LookupError`` for unknown."""
    _resolvers[:] = [resolver]


def resolve(settings: Settings, name: str) -> Connection:
    """The connection called ``name``.

    Raises:
        ConfigError: nobody knows it, or it cannot be read; names where it was looked for.
    """
    for resolver in _resolvers:
        try:
            return resolver(name)
        except LookupError:
            continue
    variable = f"AIRFLOW_CONN_{name.upper()}"
    file = settings.data_dir / "connections.json"
    stored: Any = os.environ.get(variable)
    place = variable
    if stored is None and file.is_file():
        place = str(file)
        try:
            stored = json.loads(file.read_text(encoding="utf-8")).get(name)
        except (ValueError, AttributeError):
            raise ConfigError(f"{place} is not a JSON object of connections") from None
    if stored is None:
        raise ConfigError(
            f"connection '{name}' is not known. Add it in Airflow, or set {variable} to a URI such "
            f"as postgresql://user:password@host:5432/database, or put it into {file}."
        )
    try:
        return parse(name, stored)
    except ValueError:
        raise ConfigError(f"connection '{name}' in {place} is neither a URI nor JSON") from None


def parse(name: str, stored: str | dict[str, Any]) -> Connection:
    """A connection from Airflow's URI, JSON or object form.

    Raises:
        ValueError: it is none of them; the text is not quoted.
    """
    if isinstance(stored, str) and stored.lstrip().startswith("{"):
        stored = json.loads(stored)
    if isinstance(stored, dict):
        extra = stored.get("extra") or {}
        return Connection(
            name=name,
            kind=stored.get("conn_type") or "",
            host=stored.get("host"),
            port=int(stored["port"]) if stored.get("port") else None,
            login=stored.get("login"),
            password=stored.get("password"),
            schema=stored.get("schema"),
            extra=json.loads(extra) if isinstance(extra, str) else dict(extra),
        )
    parts = urllib.parse.urlsplit(stored)
    if not parts.scheme:
        raise ValueError("no scheme")
    unquote = urllib.parse.unquote
    host = unquote(parts.hostname) if parts.hostname else None
    query = dict(urllib.parse.parse_qsl(parts.query))
    if "__extra__" in query:
        query = json.loads(query["__extra__"])
    return Connection(
        name=name,
        kind={"postgresql": "postgres"}.get(parts.scheme, parts.scheme),
        host=host or query.get("host"),
        port=parts.port,
        login=unquote(parts.username) if parts.username else None,
        password=unquote(parts.password) if parts.password else None,
        schema=unquote(parts.path[1:]) or None,
        extra=query,
    )
