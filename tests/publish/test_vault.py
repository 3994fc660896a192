"""The vault: tokens by a key, and a file that lives and goes with its snapshot."""

import datetime as dt
import os

import duckdb
import pytest

from customer360 import publish, state, vault
from customer360.exceptions import Customer360Error, PublishError
from customer360.warehouse import connect
from tests.publish import company
from tests.publish.company import DAY, INFO

WEEK = dt.timedelta(weeks=1)
KEY = "ab" * 32


def publish_with_vault(settings, run_id, as_of=DAY, retention=None):
    engine = company.open_state(settings)
    state.begin_run(engine, run_id, as_of)
    work_file = company.write_marts(settings, run_id)
    secret = work_file.with_name("vault.duckdb")
    with duckdb.connect(str(secret)) as connection:
        connection.execute(f"create table personal_values as select '{run_id}' as value")
    return publish.publish(
        settings, engine, work_file, run_id, as_of, INFO, vault=secret, retention=retention
    )


def vaults(settings):
    return sorted(path.name for path in settings.vault_dir.iterdir())


def test_the_sql_function_makes_the_same_tokens_as_python(settings, monkeypatch):
    monkeypatch.setenv("CUSTOMER360_TOKEN_KEY", KEY)
    with connect(settings) as connection:
        vault.install(connection, settings)
        rows = connection.execute(
            "select kind, value, personal_token(kind, value) from (values ('phone', "
            "'+8613912345670'), ('name', '张伟😀'), ('name', null)) as told(kind, value)"
        ).fetchall()
    tokens = [vault.token(bytes.fromhex(KEY), kind, value) for kind, value, _ in rows[:2]]
    assert [made for *_, made in rows] == [*tokens, None]
    assert tokens[0] != vault.token(bytes.fromhex("cd" * 32), "phone", "+8613912345670")


def test_a_key_is_made_once_for_its_owner_alone(settings, monkeypatch):
    monkeypatch.delenv("CUSTOMER360_TOKEN_KEY", raising=False)
    settings.data_dir.mkdir(parents=True)
    key = vault.token_key(settings)
    assert vault.token_key(settings) == key
    assert len(key) == 32
    assert (settings.data_dir / vault.KEY_FILE).stat().st_mode & 0o777 == 0o600


def test_a_key_that_is_none_is_refused_without_being_told(settings, monkeypatch):
    monkeypatch.setenv("CUSTOMER360_TOKEN_KEY", "a guess")
    with pytest.raises(Customer360Error, match="CUSTOMER360_TOKEN_KEY must hold") as error:
        vault.token_key(settings)
    assert "a guess" not in str(error.value)


def test_a_vault_is_published_with_its_snapshot_for_its_owner_alone(settings):
    snapshot = publish_with_vault(settings, "one")
    path = vault.find_vault(settings, snapshot)
    assert path.stat().st_mode & 0o777 == 0o600
    with duckdb.connect(str(path), read_only=True) as connection:
        assert connection.execute("select * from vault_info").fetchall() == [("one", DAY)]
        assert connection.execute("select value from personal_values").fetchall() == [("one",)]


def test_a_vault_is_kept_taken_back_and_cleared_with_its_snapshot(settings):
    first = publish_with_vault(settings, "one")
    second = publish_with_vault(settings, "two", DAY + WEEK)
    assert len(vaults(settings)) == 2
    assert publish.snapshot_rollback(settings, company.open_state(settings)) == first
    assert vault.find_vault(settings, publish.snapshot_path(settings)).name.endswith("one.duckdb")
    for path in (first, second):
        os.utime(path, (0, 0))
    tight = publish.Retention(keep_days=0, keep_at_least=1)
    third = publish_with_vault(settings, "three", DAY + 2 * WEEK, tight)
    assert vaults(settings) == [vault.vault_of(settings, third).name]


def test_what_a_killed_publish_left_in_the_vault_goes(settings, monkeypatch):
    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(publish, "_copy", killed)
        with pytest.raises(KeyboardInterrupt):
            publish_with_vault(settings, "one")
    assert len(vaults(settings)) == 1
    (settings.vault_dir / ".vault-x.partial").touch()
    snapshot = publish_with_vault(settings, "two")
    assert vaults(settings) == [vault.vault_of(settings, snapshot).name]


def test_a_snapshot_without_a_vault_says_so(settings):
    snapshot = company.publish_run(settings, "one")
    with pytest.raises(PublishError, match="has no vault"):
        vault.find_vault(settings, snapshot)


def test_who_may_joins_the_two_by_the_sql_that_is_printed(settings, tmp_path):
    kinds = ("name", "phone", "email", "address", "birthday")
    snapshot, secret = tmp_path / "customer360-x.duckdb", tmp_path / "vault-x.duckdb"
    with duckdb.connect(str(snapshot)) as connection:
        tokens = ", ".join(f"'t-{kind}' as {kind}_token" for kind in kinds)
        connection.execute(f"create table customers as select 'c1' as customer_id, {tokens}")
    with duckdb.connect(str(secret)) as connection:
        connection.execute("create table personal_values (token varchar, value varchar)")
        connection.execute(
            "insert into personal_values values ('t-name', '王芳'), ('t-phone', '1')"
        )
    with duckdb.connect() as connection:
        connection.execute(vault.attach_sql(snapshot, secret))
        rows = connection.execute("select name, phone, email from customers_in_clear").fetchall()
    assert rows == [("王芳", "1", None)]
