"""The vault: personal values by token, in a file of its own beside each published snapshot.

What belongs here: the key that makes tokens, the file that belongs to a snapshot, and the SQL by
which somebody who may do so joins the two. What does not: what stands in the vault
(``dbt_project/models/vault``), and who may open it (the rights of the file say so).

A token is a keyed digest (HMAC-SHA-256) of kind and value: equal values have equal tokens, so that
analysts can count, join and compare them, and nobody without the key can find a phone number by
trying them all.
"""

import hashlib
import hmac
import os
import secrets
from pathlib import Path

import duckdb

from customer360.exceptions import Customer360Error, PublishError
from customer360.settings import Settings
from customer360.warehouse import literal

KEY_FILE = "token.key"
INFO_TABLE = "vault_info"
BLOCK = 64
"""Bytes of a block of SHA-256, which HMAC pads its key to."""

TOKEN_DIGITS = 24


def token_key(settings: Settings) -> bytes:
    """The company's key: ``CUSTOMER360_TOKEN_KEY`` (hex), else a file for its owner alone.

    The file is made at the first need. Without it tokens of another run differ from those of
    before; nothing else is lost.
    """
    said = settings.token_key
    path = settings.data_dir / KEY_FILE
    if said is None:
        if not path.exists():
            aside = path.with_name(f".{KEY_FILE}.partial")
            aside.unlink(missing_ok=True)
            handle = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(handle, "w", encoding="ascii") as file:
                file.write(secrets.token_hex(32))
                file.flush()
                os.fsync(handle)
            aside.rename(path)
        said = path.read_text(encoding="ascii")
    try:
        key = bytes.fromhex(said.strip())
    except ValueError:
        key = b""
    if len(key) < 16:
        place = "CUSTOMER360_TOKEN_KEY" if settings.token_key is not None else str(path)
        raise Customer360Error(
            f"{place} must hold a key of at least 32 hexadecimal digits, such as the output of"
            " `openssl rand -hex 32`"
        )
    return key


def token(key: bytes, kind: str, value: str) -> str:
    """The token of one value, as :func:`install` makes it in SQL."""
    digest = hmac.new(key, f"{kind}:{value}".encode(), hashlib.sha256).hexdigest()
    return "t" + digest[:TOKEN_DIGITS]


def install(connection: duckdb.DuckDBPyConnection, settings: Settings) -> None:
    """Make the SQL function ``personal_token(kind, value)`` in the connection's file.

    The key stands in the function, so that no model and no log has it: the file is restricted.
    """
    key = token_key(settings)
    if len(key) > BLOCK:
        key = hashlib.sha256(key).digest()
    key = key.ljust(BLOCK, b"\0")
    inner, outer = (bytes(byte ^ pad for byte in key).hex() for pad in (0x36, 0x5C))
    connection.execute(
        f"create or replace macro personal_token(kind, value) as 't' || substr("
        f"sha256(from_hex('{outer}') || from_hex(sha256(from_hex('{inner}')"
        f" || encode(kind || ':' || value)))), 1, {TOKEN_DIGITS})"
    )


def vault_of(settings: Settings, snapshot: Path) -> Path:
    """The vault file that is published with ``snapshot``, whether or not it is there."""
    return settings.vault_dir / snapshot.name.replace("customer360-", "vault-", 1)


def find_vault(settings: Settings, snapshot: Path) -> Path:
    """The vault of ``snapshot``.

    Raises:
        PublishError: it was published without one.
    """
    path = vault_of(settings, snapshot)
    if not path.is_file():
        raise PublishError(f"{snapshot.name} has no vault in {settings.vault_dir}")
    return path


def attach_sql(snapshot: Path, vault: Path) -> str:
    """SQL that joins a snapshot and its vault in one connection, for those who may see persons."""
    values = ",\n    ".join(
        f"(select value from vault.personal_values where token = customers.{column}_token)"
        f" as {column}"
        for column in ("name", "phone", "email", "address", "birthday")
    )
    return f"""attach {literal(snapshot)} as snapshot (read_only);
attach {literal(vault)} as vault (read_only);
use snapshot;
create temp view customers_in_clear as
select
    customers.*,
    {values}
from snapshot.customers as customers;
"""
