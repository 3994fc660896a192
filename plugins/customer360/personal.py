"""Personal data by sight: which class a column seems to be of, and how its values are masked.

What belongs here: guesses that a person checks, and masks for people who look at a source. What
does not: what a published table may show (the marts), or erasure.
"""

import re
from collections.abc import Sequence

from customer360.config import PersonalClass

MASK = "***"

PHONE = re.compile(r"(\+?86[- ]?)?1[3-9]\d{9}|0\d{2,3}-?\d{7,8}")
EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")
NATIONAL_ID = re.compile(r"\d{17}[\dXx]")
CHINESE_NAME = re.compile(r"[\u4e00-\u9fff·]{2,4}")

BY_NAME: tuple[tuple[PersonalClass, str], ...] = (
    ("sensitive", r"id_?card|national_?id|identity_?no|passport|身份证|护照|health|religion"),
    ("contact", r"phone|mobile|telephone|(^|_)tel($|_)|e?mail|手机|电话|邮箱|邮件"),
    ("birthday", r"birth|(^|_)dob($|_)|生日|出生"),
    ("address", r"addr|street|postcode|zip_?code|地址|住址|详细地址"),
    (
        "name",
        r"surname|consignee|recipient|contact_person|姓名|联系人|收货人|昵称|^客户$"
        r"|^(?!.*(user|product|item|goods|sku|shop|store|branch|city|province|region|district|file"
        r"|event|page|screen|app|company|org|brand|category|campaign|group|survey|topic|series"
        r"|model|channel|team|task|type|status|part)_?name).*name$",
    ),
    ("free_text", r"remark|note|comment|message|feedback|transcript|备注|留言|评论|描述"),
    (
        "identifier",
        r"(customer|member|user|account|person|client|contact|household)_?(id|no|nr|number|code)"
        r"|^(customer|member|client)$|open_?id|union_?id|user_?name|device_?id|anonymous_?id"
        r"|会员号|会员编号|客户编号|用户",
    ),
    (
        "profile",
        r"gender|(^|_)sex($|_)|(^|_)age($|_)|income|marital|occupation|education|性别|年龄",
    ),
)


def guess_class(name: str, values: Sequence[str | None]) -> PersonalClass:
    """The class that a column's name and some of its values speak for; ``none`` where neither does.

    What the values are weighs more than what the column is called.
    """
    filled = [value.strip() for value in values if value and value.strip()]

    def share(pattern: re.Pattern[str]) -> float:
        return sum(bool(pattern.fullmatch(value)) for value in filled) / max(1, len(filled))

    if share(NATIONAL_ID) > 0.5:
        return "sensitive"
    if share(PHONE) > 0.5 or share(EMAIL) > 0.5:
        return "contact"
    for found, pattern in BY_NAME:
        if re.search(pattern, name, re.IGNORECASE):
            if found == "name" and name.lower() == "name" and filled:
                # The name of a product or shop is nobody's.
                return "name" if share(CHINESE_NAME) > 0.7 else "none"
            return found
    return "none"


def mask(value: object, found: PersonalClass) -> str:
    """``value`` as a person may see it who only wants to know what a column looks like."""
    if value is None:
        return ""
    text = str(value)
    if found == "none" or not text:
        return text
    if found == "name":
        return f"{text[0]}**"
    if found == "contact":
        user, at, host = text.partition("@")
        if at:
            return f"{user[:1]}{MASK}@{host}"
        return f"{text[:3]}****{text[-4:]}" if len(text) >= 11 else MASK
    if found == "address":
        return f"{text[:2]}{MASK}" if len(text) > 6 else MASK
    if found == "birthday":
        return f"{text[:4]}-**-**" if text[:4].isdecimal() else MASK
    if found == "identifier":
        return f"{MASK}{text[-2:]}" if len(text) > 5 else MASK
    return MASK
