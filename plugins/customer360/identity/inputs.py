"""From the warehouse's ``records`` and ``identifiers`` to normalised tables of one run.

What belongs here: the shapes of the two inputs, their checks, and tables ``person`` and ``held``.
What does not: linking (``cores``, ``remainder``), organisations (``organisations``).

``person``: one row a record of a person that is there: ``record_id``, ``given``, ``family`` and
their ``_latin`` forms, ``full_latin``, ``birthday``, ``birthday_lunar`` (what the birthday is if it
was a lunar one and nobody said so), ``sex``, ``city``, ``region``, ``address``, ``created_at``.
``held``: ``record_id``, ``kind``, ``value``, ``link``, ``told_kind`` (with what follows a colon),
``is_verified``, ``first_at``, ``last_at``, ``valid_to``.
"""

from functools import partial

import duckdb
import pyarrow as pa

from customer360.exceptions import ConfigError
from customer360.identity import normalise
from customer360.identity.config import IdentityConfig
from customer360.identity.mapping import PersonMapping, literal
from customer360.identity.prepare import prepare

RECORD_COLUMNS = (
    "record_id", "source", "entity", "full_name", "given_name", "family_name", "birthday",
    "birthday_calendar", "sex", "province", "city", "district", "address", "organisation_name",
    "credit_code", "domain", "created_at", "updated_at", "is_deleted",
)  # fmt: skip
"""Columns of ``records``; all but ``record_id`` and ``entity`` may be missing or NULL."""

IDENTIFIER_COLUMNS = (
    "record_id", "kind", "value_normalised", "is_verified", "first_seen_at", "last_seen_at",
    "valid_to",
)  # fmt: skip
"""Columns of ``identifiers``; all but the first three may be missing or NULL."""

_TYPES = {"created_at": "TIMESTAMP", "updated_at": "TIMESTAMP", "is_deleted": "BOOLEAN",
          "is_verified": "BOOLEAN", "first_seen_at": "TIMESTAMP", "last_seen_at": "TIMESTAMP",
          "valid_to": "TIMESTAMP"}  # fmt: skip


def look(
    con: duckdb.DuckDBPyConnection, own: duckdb.DuckDBPyConnection, records: str, identifiers: str
) -> None:
    """Make ``seen_now`` in ``own``: ``n``, a record's number; ``content``, all it says as one.

    Views ``input_record`` and ``input_identifier`` are made in ``con``: the inputs in one shape.
    Deleted records are left out here, so that to the rest they are not there. Organisations, of
    which there are few, are copied wholly (``organisation``).

    Raises:
        ConfigError: a column is missing, or a record_id, or its number, is missing or not unique.
    """
    selects = []
    for relation, columns, needed in (
        (records, RECORD_COLUMNS, ("record_id", "entity")),
        (identifiers, IDENTIFIER_COLUMNS, IDENTIFIER_COLUMNS[:3]),
    ):
        there = {name for name, *_ in con.execute(f"DESCRIBE {relation}").fetchall()}
        missing = [name for name in needed if name not in there]
        if missing:
            raise ConfigError(f"identity: {relation} has no column {', '.join(missing)}")
        select = ", ".join(
            f"{name if name in there else 'NULL'}::{_TYPES.get(name, 'VARCHAR')} AS {name}"
            for name in columns
        )
        selects.append(f"SELECT {select} FROM {relation}")
    con.execute(
        f"CREATE OR REPLACE TEMP VIEW input_record AS SELECT * FROM ({selects[0]}) "
        "WHERE NOT coalesce(is_deleted, false);"
        f"CREATE OR REPLACE TEMP VIEW input_identifier AS SELECT * FROM ({selects[1]}) "
        "WHERE value_normalised IS NOT NULL"
    )
    rows, numbers, known = con.execute(
        "SELECT count(*), count(DISTINCT hash(record_id)) FILTER (record_id IS NOT NULL), "
        f"count(*) FILTER (entity IN ('person', 'organisation')) FROM {records}"
    ).fetchall()[0]
    if rows != numbers:
        ids = con.execute(f"SELECT count(DISTINCT record_id) FROM {records}").fetchall()[0][0]
        raise ConfigError(
            f"identity: {rows - ids} of {rows} rows of {records} lack or repeat ids"
            if rows != ids
            else f"identity: {ids - numbers} record ids have the number of another one"
        )
    if rows != known:
        raise ConfigError(
            f"identity: entity is neither person nor organisation in {rows - known} of {rows} rows "
            f"of {records}"
        )
    copy(
        con,
        own,
        """
        WITH held_content AS (
            SELECT hash(record_id) AS n, sum(hash(input_identifier)::HUGEINT) AS content
            FROM input_identifier GROUP BY n
        )
        SELECT hash(record_id) AS n, hash(hash(input_record), held_content.content) AS content
        FROM input_record LEFT JOIN held_content ON n = hash(record_id)
        """,
        "TEMP TABLE seen_now",
    )
    copy(con, own, "FROM input_record WHERE entity = 'organisation'", "TABLE organisation")


def copy(
    con: duckdb.DuckDBPyConnection,
    into: duckdb.DuckDBPyConnection,
    query: str,
    table: str,
    *,
    add: bool = False,
) -> None:
    """Create ``table`` of ``into`` from a query on ``con``, or ``add`` to it; it is held once."""
    into.register("copied", con.execute(query).fetch_record_batch(50_000))
    start = f"INSERT INTO {table} BY NAME" if add else f"CREATE OR REPLACE {table} AS"
    into.execute(f"{start} SELECT * FROM copied")
    into.unregister("copied")


def empty(own: duckdb.DuckDBPyConnection) -> None:
    """Make the store's tables without rows."""
    own.execute(
        """
        CREATE OR REPLACE TABLE seen (
            record_id VARCHAR, source VARCHAR, entity VARCHAR, content UBIGINT);
        CREATE OR REPLACE TABLE person (
            record_id VARCHAR, given VARCHAR, family VARCHAR, given_latin VARCHAR,
            family_latin VARCHAR, full_latin VARCHAR, birthday VARCHAR, birthday_lunar VARCHAR,
            sex VARCHAR, city VARCHAR, region VARCHAR, address VARCHAR, road_home VARCHAR,
            estate_home VARCHAR, created_at TIMESTAMP);
        CREATE OR REPLACE TABLE held (
            record_id VARCHAR, kind VARCHAR, value VARCHAR, link VARCHAR, told_kind VARCHAR,
            is_verified BOOLEAN, first_at TIMESTAMP, last_at TIMESTAMP, valid_to TIMESTAMP);
        CREATE OR REPLACE TABLE core (record_id VARCHAR, core_id VARCHAR);
        CREATE OR REPLACE TABLE row (
            record_id VARCHAR, given VARCHAR, family VARCHAR, given_latin VARCHAR,
            family_latin VARCHAR, birthday VARCHAR, sex VARCHAR, phone VARCHAR, email VARCHAR,
            address VARCHAR, road_home VARCHAR, estate_home VARCHAR, city VARCHAR, records BIGINT);
        CREATE OR REPLACE TABLE scored (record_l VARCHAR, record_r VARCHAR);
        CREATE OR REPLACE TABLE lone_pair (record_l VARCHAR, record_r VARCHAR, weight DOUBLE);
        CREATE OR REPLACE TABLE row_group (record_id VARCHAR, first_id VARCHAR);
        CREATE OR REPLACE TABLE decision_then (record_l VARCHAR, record_r VARCHAR, kind VARCHAR);
        """
    )


def take_changed(con: duckdb.DuckDBPyConnection, own: duckdb.DuckDBPyConnection) -> None:
    """Make ``record_changed`` (``record_id``): new, changed and gone; bring ``seen`` up to date.

    ``input_record`` and ``input_identifier`` in ``own`` are what the changed persons say now.
    """
    own.execute(
        """
        CREATE OR REPLACE TEMP TABLE number_changed AS
        SELECT n FROM (SELECT hash(record_id) AS n, content FROM seen) AS seen
        FULL JOIN seen_now USING (n) WHERE seen.content IS DISTINCT FROM seen_now.content
        """
    )
    copy(own, con, "FROM number_changed", "TEMP TABLE number_changed")
    for table in ("input_record", "input_identifier"):
        copy(
            con,
            own,
            f"SELECT * FROM {table} WHERE hash(record_id) IN (FROM number_changed)",
            f"TEMP TABLE {table}",
        )
    con.execute("DROP VIEW input_record; DROP VIEW input_identifier; DROP TABLE number_changed")
    own.execute(
        """
        CREATE OR REPLACE TEMP TABLE record_changed AS
        SELECT record_id FROM input_record
        UNION SELECT record_id FROM seen WHERE hash(record_id) IN (FROM number_changed);
        DELETE FROM seen WHERE hash(record_id) IN (FROM number_changed);
        INSERT INTO seen SELECT record_id, source, entity, content
        FROM input_record JOIN seen_now ON n = hash(record_id);
        DELETE FROM input_record WHERE entity <> 'person';
        DROP TABLE seen_now
        """
    )


def normalise_persons(con: duckdb.DuckDBPyConnection, config: IdentityConfig) -> None:
    """Make ``person_now`` and ``held_now`` from ``input_record`` and ``input_identifier``."""
    _solar_birthdays(con)
    con.execute(
        """
        CREATE OR REPLACE TEMP TABLE records_in AS
        SELECT record_id, full_name, given_name, family_name, solar AS birthday, sex,
            concat_ws('', city) AS city, province AS region, address
        FROM input_record LEFT JOIN birthday_read
            ON birthday_read.birthday = input_record.birthday
            AND birthday_read.birthday_calendar IS NOT DISTINCT FROM input_record.birthday_calendar
        """
    )
    con.execute("UPDATE records_in SET city = NULL WHERE city = ''")
    fields = ("record_id", "full_name", "given_name", "family_name", "birthday", "sex", "city",
              "region", "address")  # fmt: skip
    mapping = PersonMapping(
        fields={name: [name] for name in fields}, phone_region=config.phone_region
    )
    prepare(con, mapping, into="person_read")
    distinct(con, "read_name", "SELECT full_name AS value FROM records_in",
             {"english": lambda value: "y" if normalise.english_beside_pinyin(value) else None,
              "title_sex": normalise.title_sex})  # fmt: skip
    distinct(con, "read_address", "SELECT address AS value FROM records_in",
             {"road_home": lambda value: normalise.home(value)[0],
              "estate_home": lambda value: normalise.home(value)[1]})  # fmt: skip
    distinct(
        con,
        "read_birthday",
        "SELECT birthday AS value FROM person_read",
        {"lunar": normalise.from_lunar},
    )
    # an English given name says nothing of the Chinese one
    con.execute(
        """
        CREATE OR REPLACE TEMP TABLE person_now AS
        SELECT record_id,
            CASE WHEN english IS NULL THEN given END AS given, family,
            CASE WHEN english IS NULL THEN given_latin END AS given_latin, family_latin,
            CASE WHEN english IS NULL THEN coalesce(family_latin, '') || coalesce(given_latin, '')
                END AS full_latin,
            person_read.birthday, lunar AS birthday_lunar,
            coalesce(person_read.sex, title_sex) AS sex,
            person_read.city, person_read.region,
            CASE WHEN road_home IS NULL AND estate_home IS NULL
                THEN person_read.address END AS address, road_home, estate_home,
            coalesce(created_at, updated_at) AS created_at
        FROM person_read
        JOIN records_in USING (record_id)
        JOIN input_record USING (record_id)
        LEFT JOIN read_name ON read_name.value = records_in.full_name
        LEFT JOIN read_address ON read_address.value = records_in.address
        LEFT JOIN read_birthday ON read_birthday.value = person_read.birthday
        ORDER BY record_id
        """
    )
    _hold(con, config)
    _names_in_emails(con)
    con.execute("DROP TABLE person_read")


def _names_in_emails(con: duckdb.DuckDBPyConnection) -> None:
    """Give persons without a given name the one that their e-mail address is made of."""
    con.execute(
        """
        CREATE OR REPLACE TEMP TABLE email_asked AS
        SELECT record_id, family_latin, min(value) AS email
        FROM held_now JOIN person_now USING (record_id)
        WHERE kind = 'email' AND given_latin IS NULL GROUP BY ALL HAVING count(*) = 1
        """
    )
    rows = con.execute("SELECT record_id, family_latin, email FROM email_asked").fetchall()
    found = [
        (record, *name)
        for record, family, email in rows
        if (name := normalise.name_in_email(email, family)) is not None
    ]
    con.register("email_named", pa.table({
        name: pa.array([row[place] for row in found], pa.string())
        for place, name in enumerate(("record_id", "told_given", "told_family"))
    }))  # fmt: skip
    con.execute(
        """
        CREATE OR REPLACE TEMP TABLE person_now AS
        SELECT person_now.* REPLACE (
            coalesce(told_given, given) AS given, coalesce(family, told_family) AS family,
            coalesce(told_given, given_latin) AS given_latin,
            coalesce(family_latin, told_family) AS family_latin,
            coalesce(told_family || told_given, full_latin) AS full_latin)
        FROM person_now LEFT JOIN email_named USING (record_id) ORDER BY record_id
        """
    )
    con.unregister("email_named")


def distinct(
    con: duckdb.DuckDBPyConnection, table: str, query: str, columns: dict[str, normalise.Normaliser]
) -> None:
    """Make ``table``: ``value`` of ``query``, each once, and what ``columns`` make of it."""
    values = [
        value
        for (value,) in con.execute(
            f"SELECT DISTINCT value FROM ({query}) WHERE value IS NOT NULL"
        ).fetchall()
    ]
    data = {"value": pa.array(values, pa.string())}
    rows = [[function(value) for function in columns.values()] for value in values]
    for index, name in enumerate(columns):
        data[name] = pa.array([row[index] for row in rows], pa.string())
    con.register("distinct_read", pa.table(data))
    con.execute(f"CREATE OR REPLACE TEMP TABLE {table} AS SELECT * FROM distinct_read")
    con.unregister("distinct_read")


def _solar_birthdays(con: duckdb.DuckDBPyConnection) -> None:
    """Make ``birthday_read``: birthday and calendar as given, and the solar day they mean."""
    rows = con.execute(
        "SELECT DISTINCT birthday, birthday_calendar FROM input_record WHERE birthday IS NOT NULL"
    ).fetchall()
    solar = []
    for text, calendar in rows:
        lunar = normalise.lunar_text(text) or (text if calendar == "lunar" else None)
        solar.append(normalise.from_lunar(normalise.birthday(lunar)) if lunar else text)
    con.register(
        "birthday_found",
        pa.table(
            {
                "birthday": pa.array([row[0] for row in rows], pa.string()),
                "birthday_calendar": pa.array([row[1] for row in rows], pa.string()),
                "solar": pa.array(solar, pa.string()),
            }
        ),
    )
    con.execute("CREATE OR REPLACE TEMP TABLE birthday_read AS SELECT * FROM birthday_found")
    con.unregister("birthday_found")


def _hold(con: duckdb.DuckDBPyConnection, config: IdentityConfig) -> None:
    """Make ``held_now``: identifiers by kind, and homes, with how they link."""
    phone = partial(normalise.phone, region=config.phone_region)
    of_kind = (
        "SELECT value_normalised AS value FROM input_identifier WHERE split_part(kind, ':', 1)"
    )
    distinct(con, "read_phone", f"{of_kind} = 'phone'", {"normal": phone})
    distinct(con, "read_email", f"{of_kind} = 'email'", {"normal": normalise.email})
    links = {kind: rule.link for kind, rule in config.kinds.items()}
    cases = " ".join(f"WHEN {literal(kind)} THEN {literal(link)}" for kind, link in links.items())
    con.execute(
        f"""
        CREATE OR REPLACE TEMP TABLE held_now AS
        WITH typed AS (
            SELECT record_id, split_part(kind, ':', 1) AS kind, kind AS told_kind, valid_to,
                CASE split_part(kind, ':', 1) WHEN 'phone' THEN read_phone.normal
                    WHEN 'email' THEN read_email.normal
                    ELSE trim(value_normalised) END AS value,
                coalesce(is_verified, false) AS is_verified, first_seen_at, last_seen_at
            FROM input_identifier
            LEFT JOIN read_phone ON read_phone.value = value_normalised
            LEFT JOIN read_email ON read_email.value = value_normalised
            SEMI JOIN person_now USING (record_id)
            UNION ALL
            SELECT record_id, 'home', 'home', NULL, unnest([road_home, estate_home]), false,
                created_at, NULL
            FROM records_in JOIN read_address ON read_address.value = address
            JOIN input_record USING (record_id)
        )
        SELECT record_id, kind, value, coalesce(CASE kind {cases} END, 'none') AS link,
            min(told_kind) AS told_kind, bool_or(is_verified) AS is_verified,
            min(first_seen_at) AS first_at,
            max(coalesce(last_seen_at, first_seen_at)) AS last_at,
            max(valid_to) AS valid_to
        FROM typed WHERE value IS NOT NULL AND value <> '' GROUP BY ALL
        """
    )
