"""The few words that are written by hand: aspects that a company can act on, and emoji.

Polarity words are not here: they are learned from texts.
"""

import re

ASPECTS: dict[str, tuple[str, ...]] = {
    "delivery": (
        *("快递", "物流", "发货", "送货", "配送", "到货", "包裹", "运费", "签收", "派送", "包装"),
        *("deliver", "shipping", "shipment", "shipped", "courier", "parcel", "package", "arrived"),
    ),
    "quality": (
        *("质量", "品质", "做工", "材质", "正品", "假货", "坏了", "破损", "故障", "耐用", "瑕疵"),
        *("quality", "broken", "defect", "durable", "fault", "material", "build", "works"),
    ),
    "price": (
        *("价格", "价钱", "性价比", "便宜", "太贵", "贵了", "优惠", "划算", "打折", "降价", "收费"),
        *("price", "cheap", "expensive", "value for money", "discount", "overpriced", "cost"),
    ),
    "service": (
        *("服务", "客服", "态度", "售后", "前台", "服务员", "店员", "退货", "退款", "投诉", "回复"),
        *("service", "staff", "support", "refund", "agent", "complain", "helpful", "rude"),
    ),
}

ASPECT_PATTERNS: dict[str, re.Pattern[str]] = {
    aspect: re.compile("|".join(re.escape(word) for word in words))
    for aspect, words in ASPECTS.items()
}

CLAUSE = re.compile(r"[，。！？；,.!?;\n]+|但是|不过|可是|\bbut\b|\bhowever\b")

EMOJI: dict[str, float] = {
    **dict.fromkeys("👍👌👏💪😀😁😂😃😄😆😊😋😍😘🙂🤗🥰🤩🎉❤💕🌹🌟✨💯☺", 1.0),
    **dict.fromkeys("👎😒😞😔😟😠😡😢😣😤😥😩😫😭😖🙁☹🤬🤮🤢💔💩😰😨🙄", -1.0),
}
EMOJI_WEIGHT = 1.2
"""Log-odds an emoji adds; two of them say as much as a clear sentence."""


def emoji_log_odds(text: str) -> float:
    """What the emoji of a text say, in log-odds between -3.6 and 3.6."""
    total = sum(EMOJI.get(sign, 0.0) for sign in text)
    return EMOJI_WEIGHT * max(-3.0, min(3.0, total))
