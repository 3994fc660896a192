"""Which exports there are, and what each promises of its rows.

What belongs here: names, keys, columns and where an export's rows come from. What does not: how
they are written (``files``) and delivered (``exports``).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from customer360.content import ID_MAP_TABLE


@dataclass(frozen=True)
class Export:
    """What is exported under a name.

    Attributes:
        name: of the export, and of the table in the snapshot unless ``query`` is given.
        key: columns that tell rows apart; the first is the first column of every file.
        query: SQL over the snapshot's tables instead of the table ``name``.
        required: column -> what it says, for the JSON Schema; a table without one is refused.
        empty: column -> type, exported without rows where the snapshot has no such table.
        is_sent: whether somebody turns to a customer because of a row.
    """

    name: str
    key: tuple[str, ...] = ("customer_id",)
    query: str | None = None
    required: Mapping[str, str] = field(default_factory=dict)
    empty: Mapping[str, str] = field(default_factory=dict)
    is_sent: bool = False


SEGMENT_MEMBERS = Export(
    "segment_members",
    key=("customer_id", "segment"),
    required={
        "customer_id": "Whom it is about.",
        "segment": "Name of the segment in config/audiences.yml.",
    },
)

CHURN_ALERTS = Export(
    "churn_alerts",
    key=("customer_id", "alert_id"),
    required={
        "customer_id": "Whom it is about.",
        "alert_id": "Stays the same while the alert lasts; an answer names it.",
        "kind": "What the alert warns of.",
        "started_on": "First day of the alert.",
        "reason_1": "Why, in words; the strongest reason.",
        "reason_2": "The second reason, if there is one.",
        "reason_3": "The third reason, if there is one.",
        "value_at_risk_cents": "Expected spend that would be lost, in minor units.",
        "owner": "Who should act.",
        "suggested_action": "What to do first.",
        "expires_on": "Last day on which acting makes sense.",
    },
    is_sent=True,
)

CUSTOMER_ID_MAP = Export(
    ID_MAP_TABLE,
    key=("old_id", "new_id"),
    required={
        "old_id": "An id that a tool may have kept.",
        "new_id": "Where that customer is found now.",
        "reason": "merge or split.",
    },
    empty={"old_id": "varchar", "new_id": "varchar", "reason": "varchar"},
)

EXPORTS = (SEGMENT_MEMBERS, CHURN_ALERTS, CUSTOMER_ID_MAP)
