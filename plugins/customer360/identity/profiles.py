"""What the records of a group say together, and what two groups say of each other.

What belongs here: the profile of a group, the verdict on two names and two birthdays, what speaks
against, in words. What does not: which groups are compared (``core_links``).
"""

import duckdb

MACROS = """
CREATE OR REPLACE TEMP MACRO name_verdict(
    given, family, whole, other_given, other_family, other_whole
) AS CASE
    WHEN coalesce(whole, '') = '' OR coalesce(other_whole, '') = '' THEN
        CASE WHEN family <> other_family THEN 'differ'
             WHEN family = other_family THEN 'part' ELSE 'unknown' END
    WHEN whole = other_whole OR (given = other_family AND family = other_given) THEN
        CASE WHEN given IS NULL OR other_given IS NULL THEN 'part' ELSE 'same' END
    WHEN whole = other_given OR other_whole = given THEN 'part'
    WHEN family = other_family AND (given IS NULL OR other_given IS NULL) THEN 'part'
    WHEN given = other_given AND (family IS NULL OR other_family IS NULL) THEN 'part'
    WHEN given IS NOT NULL AND family IS NOT NULL AND other_given IS NOT NULL
        AND other_family IS NOT NULL AND (jaro_winkler_similarity(whole, other_whole) >= 0.94
            OR (given = other_given AND length(given) > 4))
        THEN 'near'
    ELSE 'differ' END;
CREATE OR REPLACE TEMP MACRO birthday_verdict(one, one_lunar, other, other_lunar) AS CASE
    WHEN one IS NULL OR other IS NULL THEN 'unknown'
    WHEN one = other THEN 'same'
    WHEN one = other_lunar OR other = one_lunar THEN 'alike'
    WHEN levenshtein(one, other) = 1 THEN 'alike'
    WHEN left(one, 4) = left(other, 4) AND substr(one, 6, 2) = substr(other, 9, 2)
        AND substr(one, 9, 2) = substr(other, 6, 2) THEN 'alike'
    ELSE 'differ' END;
"""
"""What two persons' names and birthdays say. ``part``: as far as they go they agree; ``near``: a
letter or two differ, or only the family name does (王丽燕, misheard, for 黄丽燕): relatives share
the family name, not the given one."""

VERDICTS = """
    name_verdict(one.given_latin, one.family_latin, one.full_latin,
        other.given_latin, other.family_latin, other.full_latin) AS name,
    birthday_verdict(one.birthday, one.birthday_lunar, other.birthday, other.birthday_lunar)
        AS birthday,
    coalesce(one.sex <> other.sex, false) AS sexes_differ
"""

STRENGTH = """(bit_count(kinds) + (name = 'same')::INTEGER * 2 + (name = 'part')::INTEGER
    + (birthday = 'same')::INTEGER)::DOUBLE"""


def against(*fields: str) -> str:
    """SQL: list of what speaks against, in words."""
    said = {
        "name": "CASE WHEN name = 'differ' THEN 'names differ' END",
        "birthday": "CASE WHEN birthday = 'differ' THEN 'birthdays differ' END",
        "sexes": "CASE WHEN sexes_differ THEN 'sexes differ' END",
        "cities": "CASE WHEN cities_differ THEN 'cities differ' END",
    }
    return (
        f"list_filter([{', '.join(said[field] for field in fields)}], lambda one: one IS NOT NULL)"
    )


def add_profiles(con: duckdb.DuckDBPyConnection, grouped: str) -> None:
    """Add the groups of ``label_asked`` to ``label_profile``.

    Args:
        con: the store, with ``known_person`` and ``label_profile``.
        grouped: ``n``, ``label``: which records are in which group.
    """
    missing = "SELECT count(*) FROM label_asked ANTI JOIN label_profile USING (label)"
    if not con.execute(missing).fetchall()[0][0]:
        return
    con.execute(
        f"""
        CREATE OR REPLACE TEMP TABLE label_grouped AS
        SELECT * FROM {grouped} SEMI JOIN label_asked USING (label)
        ANTI JOIN label_profile USING (label);
        CREATE OR REPLACE TEMP TABLE label_record AS
        SELECT label, known_person.* EXCLUDE record_id, records
        FROM label_grouped
        JOIN (SELECT label, count(*) AS records FROM label_grouped GROUP BY label) AS counted
            USING (label)
        JOIN known_person USING (n)
        """
    )
    # a core of one record, as most are, needs no counting
    con.execute(
        """
        INSERT INTO label_profile BY NAME
        WITH several AS (SELECT * FROM label_record WHERE records > 1),
        name AS (
            SELECT label, first(struct_pack(given := given, family := family,
                given_latin := given_latin, family_latin := family_latin,
                full_latin := full_latin)
                ORDER BY wholeness DESC, times DESC, full_latin, family, given) AS name
            FROM (
                -- spellings of one sound are one name
                SELECT *,
                    sum(spelt) OVER (PARTITION BY label, full_latin) * 1000 + spelt AS times,
                    (given IS NOT NULL)::INTEGER + (family IS NOT NULL)::INTEGER AS wholeness
                FROM (SELECT label, given, family, given_latin, family_latin, full_latin,
                        count(*) AS spelt
                    FROM several WHERE given IS NOT NULL OR family IS NOT NULL GROUP BY ALL)
            ) GROUP BY label
        ),
        born AS (
            SELECT label, first(struct_pack(birthday := birthday, lunar := birthday_lunar)
                ORDER BY times DESC, birthday) AS born
            FROM (SELECT label, birthday, birthday_lunar, count(*) AS times FROM several
                WHERE birthday IS NOT NULL GROUP BY ALL) GROUP BY label
        ),
        rest AS (
            SELECT label, count(*) AS records, mode(sex ORDER BY sex) AS sex,
                mode(city ORDER BY city) AS city, mode(region ORDER BY region) AS region,
                max(address) AS address, max(road_home) AS road_home,
                max(estate_home) AS estate_home, min(created_at) AS created_at
            FROM several GROUP BY label
        )
        SELECT rest.*, name.given, name.family, name.given_latin, name.family_latin,
            name.full_latin, born.birthday, born.lunar AS birthday_lunar
        FROM rest LEFT JOIN name USING (label) LEFT JOIN born USING (label);
        INSERT INTO label_profile BY NAME
        SELECT * EXCLUDE n FROM label_record WHERE records = 1
        """
    )
