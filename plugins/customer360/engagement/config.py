"""What a company declares about touching its customers: ``config/engagement.yml``, checked.

What belongs here: the schema of that file and its defaults. What does not: segments and churn
alerts (``customer360.config``), or what the rules do.
"""

import datetime as dt
import string
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationError, field_validator, model_validator

from customer360.config import Name, Share, Strict, TimeZone, explain, read_document
from customer360.engagement.calendars import FESTIVALS
from customer360.settings import Settings

Days = Annotated[int, Field(ge=1, le=400)]
Count = Annotated[int, Field(ge=0)]
Money = Annotated[float, Field(ge=0)]
Hour = Annotated[int, Field(ge=0, le=24)]

PERSONAL_VARIABLES = ("name", "salutation")
"""Filled from the vault at the moment of sending; no table here holds them."""


def _festival(value: str) -> str:
    if value not in FESTIVALS:
        raise ValueError(f"'{value}' is not one of {', '.join(FESTIVALS)}")
    return value


Festival = Annotated[str, AfterValidator(_festival)]


class Channel(Strict):
    """A way to reach a customer.

    Attributes:
        cost: of one touch.
        caps: rolling days -> most touches of marketing in them.
        response: probability of a response where nothing is known of the customer.
        hour: local hour at which a touch goes out where nothing is known of the customer.
        identifier: kind of identifier without which a customer cannot be reached.
        consent: channel of the consent to marketing that it needs; without one it goes to
            everybody who has not taken back the consent to all channels.
        capacity: most touches of marketing a day, such as calls that people can make.
    """

    cost: Money
    caps: dict[Days, Count] = Field(default_factory=dict)
    response: Share
    hour: Hour = 10
    identifier: str
    consent: Name | None = None
    capacity: Count | None = None


class QuietHours(Strict):
    """Local hours in which nothing goes out: from ``start`` over midnight until ``end``."""

    start: Hour = 21
    end: Hour = 9

    @model_validator(mode="after")
    def _over_midnight(self) -> "QuietHours":
        if self.start <= self.end:
            raise ValueError("quiet_hours: start is in the evening, end in the morning after")
        return self


class Contact(Strict):
    """What holds for all touches together.

    Attributes:
        budget: most that the touches of a day may cost.
        caps: rolling days -> most touches of marketing over all channels.
        quiet_hours: see :class:`QuietHours`; in the customer's zone.
        zones: province (GB/T 2260) -> time zone, where it is not the company's.
        quiet_festivals: festivals on which no marketing goes out.
        one_voice: groups of channels; of each at most one touch a customer and day.
        complaints: topics of service whose open cases mute marketing.
    """

    budget: Money | None = None
    caps: dict[Days, Count] = Field(default_factory=lambda: {1: 1, 7: 3, 30: 8})
    quiet_hours: QuietHours = QuietHours()
    zones: dict[str, TimeZone] = Field(default_factory=dict)
    quiet_festivals: tuple[Festival, ...] = ()
    one_voice: tuple[tuple[Name, ...], ...] = ()
    complaints: tuple[str, ...] = ("quality", "delivery", "service", "price")


class Coupon(Strict):
    """A coupon that comes with a touch: its value, and the sum that may be given out a day."""

    value: Money
    budget: Money | None = None


class Touching(Strict):
    """What campaigns, care and triggers have in common.

    Attributes:
        owner: who answers for it.
        channels: ways that it may take, all if empty.
        template: name of a text in ``templates``.
        value: margin that one response brings.
        priority: how many times its expected value a touch counts when touches compete.
        coupon: given with the touch.
        holdout_share: share of customers that is never touched by it, so that it can be measured.
        cool_down_days: so long after a touch the same customer gets no other of this kind.
    """

    description: str = ""
    owner: str
    channels: tuple[Name, ...] = ()
    template: Name
    value: Money
    priority: Annotated[float, Field(gt=0, le=100)] = 1
    coupon: Coupon | None = None
    holdout_share: Annotated[float, Field(ge=0, lt=1)] = 0
    cool_down_days: Days = 30


class Campaign(Touching):
    """A campaign: whom it addresses (a condition on customer_360), and when."""

    rule: str
    starts_on: dt.date
    ends_on: dt.date

    @field_validator("rule")
    @classmethod
    def _safe_rule(cls, value: str) -> str:
        from customer360.conditions import checked

        return checked(value)

    @model_validator(mode="after")
    def _ends_after_it_starts(self) -> "Campaign":
        if self.ends_on < self.starts_on:
            raise ValueError("ends_on lies before starts_on")
        return self


CARE = {
    "birthday": ("occasion_on",),
    "festival": ("occasion_on", "festival"),
    "purchase_anniversary": ("occasion_on", "years", "product"),
    "points_expiring": ("occasion_on", "points"),
    "tier_within_reach": ("next_tier", "missing_yuan"),
    "feedback_answer": ("occasion_on",),
    "community_welcome": ("occasion_on",),
    "referral_thanks": ("occasion_on", "points"),
}
"""Kind of care -> variables that its templates may use."""

TRIGGERS = {
    "abandoned_cart": ("product", "amount_yuan"),
    "price_drop": ("product", "price_yuan", "saved_yuan"),
    "warranty_ending": ("product", "ends_on"),
    "repurchase_window": ("product", "cycle_days"),
    "lapse": ("days_away",),
}
"""Kind of trigger -> variables that its templates may use."""


class Care(Touching):
    """A kind of care.

    Attributes:
        purpose: ``service`` where no consent to marketing is needed (points that expire).
        lead_days: so many days before the occasion.
        festivals: care ``festival``: which.
        rule: a condition on customer_360 for whom; all without it.
        min_points: care ``points_expiring``: from so many.
        within: care ``tier_within_reach``: at most so much spend is missing.
    """

    purpose: Literal["marketing", "service"] = "marketing"
    lead_days: Annotated[int, Field(ge=0, le=60)] = 0
    festivals: tuple[Festival, ...] = ()
    rule: str | None = None
    min_points: Count = 100
    within: Money = 500

    @field_validator("rule")
    @classmethod
    def _safe_rule(cls, value: str | None) -> str | None:
        from customer360.conditions import checked

        return None if value is None else checked(value)


class Trigger(Touching):
    """A behaviour that is answered.

    Attributes:
        within_days: how long after the behaviour an answer still makes sense.
        lead_days: ``warranty_ending``: so many days before.
        min_drop: ``price_drop``: least share by which a price fell.
        after_days: ``lapse``: days without a purchase.
        wait_minutes: ``abandoned_cart``: how long a cart must have lain (hourly lane).
    """

    purpose: Literal["marketing", "service"] = "marketing"
    within_days: Days = 3
    lead_days: Annotated[int, Field(ge=0, le=90)] = 30
    min_drop: Share = 0.05
    after_days: Days = 180
    wait_minutes: Annotated[int, Field(ge=0, le=1440)] = 30


class ServiceRules(Strict):
    """Early warnings of service and who gets them.

    Attributes:
        first_response_minutes: promise of the first answer by priority.
        warn_at_share: share of the promise after which an unanswered case is warned of.
        repeat_fault_days: a second visit for the same fault within so many days.
        false_alarm_rate: share of false alarms among warned product batches
            (Benjamini-Hochberg).
        min_units: units of a batch below which nothing is said of it.
        batch_groups: name -> regular expression whose first group names a group of batches, such
            as a production line over months; groups are tested beside the batches.
        owners: kind of warning -> who acts.
        next_steps: kind of warning -> what to do first.
        routes: topic -> team that answers.
    """

    first_response_minutes: dict[str, Annotated[int, Field(gt=0)]] = Field(
        default_factory=lambda: {"urgent": 60, "high": 120, "normal": 480}
    )
    warn_at_share: Share = 0.5
    repeat_fault_days: Days = 60
    false_alarm_rate: Annotated[float, Field(gt=0, lt=0.5)] = 0.05
    min_units: Annotated[int, Field(ge=1)] = 3
    batch_groups: dict[Name, str] = Field(default_factory=dict)
    owners: dict[str, str] = Field(default_factory=dict)
    next_steps: dict[str, str] = Field(default_factory=dict)
    routes: dict[str, str] = Field(default_factory=dict)


class Weights(Strict):
    """What counts how much when a person is chosen for a lead."""

    region: Money = 3
    product: Money = 2
    skill: Money = 1
    load: Money = 1


class LeadRules(Strict):
    """How new leads are shared out.

    Attributes:
        weights: of what a person and a lead have in common (region, product, skill) and of the
            present load.
        max_open: most open leads a person.
        fair_over_days: window over which shares are evened out.
        high_value: budget from which a lead goes to those who win most.
    """

    weights: Weights = Weights()
    max_open: Annotated[int, Field(ge=1)] = 30
    fair_over_days: Days = 28
    high_value: Money = 10_000


class CartEvents(Strict):
    """Events of a source of the hourly lane that say what is put in a cart and what is bought.

    Attributes:
        event: column that names the event; ``added`` and ``bought`` are the names.
        moment: column of when it happened: ISO 8601, or milliseconds since 1970.
        properties: column with a JSON object, in which ``product`` and ``amount`` stand.
        identifiers: kind of identifier -> column that holds one.
    """

    source: Name
    table: Name
    event: Name = "event"
    added: str
    bought: str
    moment: Name = "occurred_at"
    properties: Name = "properties"
    product: Name
    amount: Name
    identifiers: Annotated[dict[Name, Name], Field(min_length=1)]


class Holdouts(Strict):
    """The permanent control group that no marketing ever touches, as a share of all customers."""

    global_share: Annotated[float, Field(ge=0, lt=0.5)] = 0


class Engagement(Strict):
    """All rules of one company about touching its customers; without any, nobody is touched."""

    holdouts: Holdouts = Holdouts()
    contact: Contact = Contact()
    channels: dict[Name, Channel] = Field(default_factory=dict)
    templates: dict[Name, str] = Field(default_factory=dict)
    campaigns: dict[Name, Campaign] = Field(default_factory=dict)
    care: dict[Name, Care] = Field(default_factory=dict)
    triggers: dict[Name, Trigger] = Field(default_factory=dict)
    service: ServiceRules = ServiceRules()
    leads: LeadRules = LeadRules()
    cart_events: tuple[CartEvents, ...] = ()

    @model_validator(mode="after")
    def _names_are_known(self) -> "Engagement":
        for place, known in (("care", CARE), ("triggers", TRIGGERS)):
            for name in getattr(self, place):
                if name not in known:
                    raise ValueError(f"{place}.{name}: not one of {', '.join(known)}")
        if self.touching and not self.channels:
            raise ValueError("channels: declare at least one, for campaigns, care and triggers")
        for group in self.contact.one_voice:
            _known(group, self.channels, "contact.one_voice: channel")
        offered: dict[str, tuple[str, ...]] = {
            **{f"campaigns.{name}": ("coupon_yuan",) for name in self.campaigns},
            **{f"care.{name}": CARE[name] for name in self.care},
            **{f"triggers.{name}": TRIGGERS[name] for name in self.triggers},
        }
        for place, variables in offered.items():
            section, _, name = place.partition(".")
            touching: Touching = getattr(self, section)[name]
            _known(touching.channels, self.channels, f"{place}.channels: channel")
            _known((touching.template,), self.templates, f"{place}.template: template")
            given = {*variables, *PERSONAL_VARIABLES, *(["coupon_yuan"] if touching.coupon else [])}
            for variable in variables_of(self.templates[touching.template]):
                if variable not in given:
                    raise ValueError(
                        f"{place}.template: '{touching.template}' uses {{{variable}}}, which this "
                        f"has no value for; it has {', '.join(sorted(given))}"
                    )
        return self

    @field_validator("templates")
    @classmethod
    def _templates_parse(cls, value: dict[str, str]) -> dict[str, str]:
        for name, text in value.items():
            try:
                variables_of(text)
            except ValueError as error:
                raise ValueError(f"{name}: {error}; write {{name}}, or {{{{ for a brace") from None
        return value

    @property
    def longest_window(self) -> int:
        """Days back that caps and cool-downs look."""
        caps = [self.contact.caps, *(channel.caps for channel in self.channels.values())]
        windows = [days for each in caps for days in each]
        rests = [touching.cool_down_days for touching in self.touching.values()]
        return max([*windows, *rests], default=1)

    @property
    def touching(self) -> dict[str, Touching]:
        """Every campaign, kind of care and trigger by its name among hold-outs and in the plan."""
        return {**self.campaigns, **self.care, **self.triggers}


def variables_of(template: str) -> tuple[str, ...]:
    """Names of the variables of a template, such as ``name`` in ``Dear {name}``.

    Raises:
        ValueError: a brace stands alone, or a variable has no plain name.
    """
    found = []
    for _, name, spec, conversion in string.Formatter().parse(template):
        if name is None:
            continue
        if not name.isidentifier() or spec or conversion:
            raise ValueError(f"'{{{name}}}' is no plain variable")
        found.append(name)
    return tuple(dict.fromkeys(found))


def _known(names: tuple[str, ...], known: dict[str, Any], what: str) -> None:
    for name in names:
        if name not in known:
            raise ValueError(
                f"{what} '{name}' is not declared; there are {', '.join(known) or 'none'}"
            )


def load_engagement(settings: Settings) -> Engagement:
    """The company's section of ``engagement.yml``; nothing is declared without one.

    Raises:
        ConfigError: names file, place and mend.
    """
    path = settings.config_dir / "engagement.yml"
    if not path.exists():
        return Engagement()
    section = read_document(path).get(settings.company) or {}
    return parse_engagement(section, settings.company, path)


def parse_engagement(section: dict[str, Any], company: str, path: Path) -> Engagement:
    """A section, checked."""
    try:
        return Engagement.model_validate(section)
    except ValidationError as error:
        raise explain(path, company, error) from None
