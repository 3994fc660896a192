"""What a company declares about identity: ``config/identity.yml``, checked and typed.

What belongs here: the schema of that file and its defaults. What does not: the mapping files of
``identity resolve`` (``mapping``), or anything that is learned.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator

from customer360.config import Strict, explain, read_document
from customer360.exceptions import ConfigError
from customer360.settings import Settings

Share = Annotated[float, Field(ge=0, le=1)]


class Kind(Strict):
    """How one kind of identifier links.

    Attributes:
        link: ``strong`` links all records that have it, unless two of given name, family name,
            birthday and sex contradict; ``named`` unless the names contradict (an order may be
            somebody's present); ``shared`` only where names agree too (families share phones);
            ``unique`` as ``shared``, and only where each source has it once (a nickname; the source
            is what follows the colon, ``nickname:shop``); ``none`` is kept and never links.
        max_persons: an identifier with more persons than this is on the stop-list; of a ``unique``
            one, with more records in one source.
    """

    link: Literal["strong", "named", "shared", "unique", "none"]
    max_persons: Annotated[int, Field(ge=1)] = 4


def _kinds() -> dict[str, Kind]:
    strong = ("national_id", "member_no", "unionid", "openid", "account", "person_no", "card")
    return {
        **{name: Kind(link="strong") for name in strong},
        "serial_no": Kind(link="named", max_persons=6),
        "order_no": Kind(link="named", max_persons=6),
        "delivery_of": Kind(link="named", max_persons=6),
        "phone": Kind(link="shared", max_persons=6),
        "email": Kind(link="shared", max_persons=4),
        "home": Kind(link="shared", max_persons=12),
        "nickname": Kind(link="unique", max_persons=2),
        "device": Kind(link="none"),
    }


class Refresh(Strict):
    """When a run learns anew instead of working on with the frozen version."""

    after_days: Annotated[int, Field(ge=1)] = 30
    growth: Annotated[float, Field(gt=0)] = 0.25


class Preview(Strict):
    """Budget of ``identity preview``: a change that moves more is refused."""

    max_changed_share: Share = 0.02
    examples: Annotated[int, Field(ge=0)] = 5
    high_value_share: Share = 0.1


class IdentityConfig(Strict):
    """Rules of one company; what is left out has the default.

    Attributes:
        kinds: kind of identifier -> how it links. Those of the file are added to the defaults; a
            kind such as ``openid:wx12`` that is not named itself follows ``openid``.
        max_records: cap on the records of one customer.
        threshold: probability from which two groups of records are one customer.
        review: probabilities between which a person is asked.
        phone_region: region of phones without country code.
    """

    kinds: dict[str, Kind] = Field(default_factory=_kinds)
    max_records: Annotated[int, Field(ge=2)] = 2000
    threshold: Annotated[float, Field(gt=0, lt=1)] = 0.8
    review: tuple[Share, Share] = (0.1, 0.9)
    phone_region: Annotated[str, Field(pattern=r"^[A-Z]{2}$")] = "CN"
    refresh: Refresh = Refresh()
    preview: Preview = Preview()

    @model_validator(mode="before")
    @classmethod
    def _add_default_kinds(cls, values: Any) -> Any:
        if isinstance(values, dict) and isinstance(values.get("kinds"), dict):
            return {**values, "kinds": {**_kinds(), **values["kinds"]}}
        return values

    @model_validator(mode="after")
    def _band_in_order(self) -> "IdentityConfig":
        if self.review[0] > self.review[1]:
            raise ValueError("review: the lower probability comes first")
        return self


def load_identity_config(settings: Settings) -> IdentityConfig:
    """The company's section of ``identity.yml`` over its ``defaults``; all defaults without one.

    Raises:
        ConfigError: names file, place and mend.
    """
    path = settings.config_dir / "identity.yml"
    if not path.exists():
        return IdentityConfig()
    document = read_document(path)
    sources = path.with_name("sources.yml")
    known = read_document(sources) if sources.exists() else document
    for section in document:
        if section != "defaults" and section not in known:
            raise ConfigError(
                f"{path.name}: '{section}' is neither 'defaults' nor a company of sources.yml"
            )
    return parse_identity_config(document, settings.company, path)


def parse_identity_config(document: dict[str, Any], company: str, path: Path) -> IdentityConfig:
    """Defaults overlaid by the company's section, key by key."""
    merged: dict[str, Any] = {}
    for name in ("defaults", company):
        section = document.get(name) or {}
        if not isinstance(section, dict):
            raise ConfigError(f"{path.name}: {name}: must be a section of keys")
        for key, value in section.items():
            both = isinstance(value, dict) and isinstance(merged.get(key), dict)
            merged[key] = {**merged[key], **value} if both else value
    try:
        return IdentityConfig.model_validate(merged)
    except ValidationError as error:
        raise explain(path, company, error) from None
