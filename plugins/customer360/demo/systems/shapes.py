"""How a row looks when a system writes it down: SQL expressions for JSON and CSV text.

What belongs here: the Segment spec, Sensors Analytics' shape, time formats and the escaping of
text. What does not: files, servers, and which rows are visible.
"""

from customer360.demo.systems.world import Column, Table, literal, quote

TIME_FORMATS = {
    "events": "%Y-%m-%dT%H:%M:%S.%gZ",  # UTC with milliseconds, as Segment's libraries send it
    "callcentre": "%Y-%m-%dT%H:%M:%S+08:00",  # the call centre keeps and tells Chinese time
    "campaign": "%Y-%m-%dT%H:%M:%SZ",
}
LOCAL_TIME = "%Y-%m-%d %H:%M:%S"

SEGMENT_KEYS = {
    "message_id": "messageId",
    "anonymous_id": "anonymousId",
    "user_id": "userId",
    "sent_at": "sentAt",
    "received_at": "receivedAt",
}
"""https://segment.com/docs/connections/spec/common/"""

SENSORS_LIBRARY = '{"$lib":"MiniProgram","$lib_method":"code","$lib_version":"1.20.12"}'
"""https://manual.sensorsdata.cn: every record says which library took it."""


def json_value(column: Column, system: str) -> str:
    """SQL text of the JSON value of a column, NULL where the column is NULL."""
    value = column.expression
    if column.type == "JSON":
        return f"({value})::varchar"
    if column.type == "TIMESTAMP":
        form = TIME_FORMATS.get(system, LOCAL_TIME)
        return f"'\"' || strftime({value}, {literal(form)}) || '\"'"
    if column.type == "DATE":
        return f"'\"' || ({value})::varchar || '\"'"
    if column.type == "VARCHAR":
        return f"to_json({value})::varchar"
    return f"({value})::varchar"


def json_object(members: list[tuple[str, str]], *, keep_nulls: bool = False) -> str:
    """SQL text of a JSON object from keys and the SQL of their values' JSON text.

    A member whose value is NULL is left out, or written as ``null`` with ``keep_nulls``.
    """
    parts = []
    for key, value in members:
        shown = f"coalesce({value}, 'null')" if keep_nulls else value
        # concat() skips NULL: the whole member goes when its value is missing.
        parts.append(f"{literal(f',{chr(34)}{key}{chr(34)}:')} || {shown}")
    # ltrim() looks at the first bytes alone; substr() would count the characters of each text.
    return "'{' || ltrim(concat(" + ", ".join(parts) + "), ',') || '}'"


def json_line(table: Table, columns: list[Column]) -> str:
    """SQL text of one row as the JSON object that the table's system writes."""
    if (table.system, table.name) == ("wechat", "events"):
        return json_object(sensors_members(columns))
    keys = SEGMENT_KEYS if table.system == "events" else {}
    return json_object(
        [
            (keys.get(column.name, column.name), json_value(column, table.system))
            for column in columns
        ]
    )


def sensors_members(columns: list[Column]) -> list[tuple[str, str]]:
    """A Sensors Analytics record: ids under ``identities``, the app among the properties."""
    values = {column.name: json_value(column, "wechat") for column in columns}
    members = [("_track_id", values.pop("track_id"))] if "track_id" in values else []
    identities = json_object(
        [
            ("$identity_mp_openid", values.pop("openid")),
            ("$identity_mp_unionid", values.pop("unionid")),
        ]
    )
    properties, app = values.pop("properties"), values.pop("app_id")
    with_app = (
        f"case when {app} is null then coalesce({properties}, '{{}}') "
        f"when coalesce({properties}, '{{}}') = '{{}}' then '{{\"$app_id\":' || {app} || '}}' "
        f"else '{{\"$app_id\":' || {app} || ',' || ltrim({properties}, '{{') end"
    )
    members += list(values.items())
    return [
        *members,
        ("lib", literal(SENSORS_LIBRARY)),
        ("identities", identities),
        ("properties", with_app),
    ]


def api_body(table: Table, columns: list[Column]) -> str:
    """SQL text of one row as a web service answers it: every key is there, empty ones as null."""
    return json_object(
        [(column.name, json_value(column, table.system)) for column in columns], keep_nulls=True
    )


def csv_line(columns: list[Column]) -> str:
    """SQL text of one row as a CSV line, quoted only where a field needs it (RFC 4180)."""
    fields = []
    for column in columns:
        text = f"({column.expression})::varchar"
        if column.type == "VARCHAR":
            doubled = f"replace({text}, '\"', '\"\"')"
            text = (
                f"case when regexp_matches({text}, '[\",\\r\\n]') "
                f"then '\"' || {doubled} || '\"' else {text} end"
            )
        fields.append(f"coalesce({text}, '')")
    return " || ',' || ".join(fields)


def column_list(columns: list[Column]) -> str:
    """The columns as a select list under their own names."""
    return ", ".join(f"{column.expression} as {quote(column.name)}" for column in columns)
