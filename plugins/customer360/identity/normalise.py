"""One person, one spelling: values of person records brought to comparable forms.

What belongs here: pure functions of one value (or of a column's distinct values), in any
script. What does not: SQL, comparing two records (``model``), and throwing away rows. A value
that cannot be understood becomes None, or is kept in a folded form where equality still says
something.
"""

import re
import unicodedata
from collections.abc import Callable, Iterable
from datetime import datetime
from functools import cache, lru_cache

import opencc
import phonenumbers
from lunardate import LunarDate
from pypinyin import Style, lazy_pinyin

CJK = re.compile(r"[\u3400-\u9fff\uf900-\ufaff]")
_SPACE = re.compile(r"\s+")

Normaliser = Callable[[str], str | None]


def _words(text: str) -> list[str]:
    return text.split()


COMPOUND_SURNAMES = frozenset(
    _words(
        "欧阳 太史 端木 上官 司马 东方 独孤 南宫 万俟 闻人 夏侯 诸葛 尉迟 公羊 赫连 澹台 皇甫 "
        "宗政 濮阳 公冶 太叔 申屠 公孙 慕容 仲孙 钟离 长孙 宇文 司徒 鲜于 司空 闾丘 子车 亓官 "
        "司寇 巫马 公西 颛孙 壤驷 公良 漆雕 乐正 宰父 谷梁 拓跋 夹谷 轩辕 令狐 段干 百里 呼延 "
        "东郭 南门 羊舌 微生 公户 公玉 梁丘 左丘 东门 西门 南荣 第五 贺兰 完颜 纳兰 叶赫 耶律 "
        "爱新觉罗"
    )
)
"""Chinese family names of more than one character, simplified."""

SURNAMES = frozenset(
    "王李张刘陈杨赵黄周吴徐孙胡朱高林何郭马罗梁宋郑谢韩唐冯于董萧程曹袁邓许傅沈曾彭吕苏卢蒋蔡贾丁魏薛叶阎余潘杜戴夏"
    "钟汪田任姜范方石姚谭廖邹熊金陆郝孔白崔康毛邱秦江史顾侯邵孟龙万段雷钱汤尹黎易常武乔贺赖龚文庞樊兰殷施陶洪翟安颜倪"
    "严牛温芦季俞章鲁葛伍韦申尤毕聂丛焦向柳邢路岳齐沿梅莫庄辛管祝左涂谷祁时舒耿牟卜路詹关苗凌费纪靳盛童欧甄项曲成游阳"
    "裴席卫查屈鲍位覃霍翁隋植甘景薄单包司柏宁柯阮桂闵解强柴华车冉房边辜吉饶刁瞿戚丘古米池滕晋苑邬臧畅宫来嵺苟全褚廉简"
    "娄盖符奚木穆党燕郎邸冀谈姬屠连郜晏栾郁商蒙计喻揭窦迟宇敖糜鄢冷卓花仇艾蓝都巩稽井练仲乐虞卞封竺冼原官衣楚佟栗匡宗"
    "应台巫鞠僧桑荆谌银扬明沙薄伏岑习胥保和蔺丰勾伊肖代闫付邝芮隆修幸植尚禹农"
)
"""Family names of one character, simplified: what begins otherwise is a given name alone."""

SURNAME_READINGS = {
    "单": "shan", "仇": "qiu", "曾": "zeng", "解": "xie", "查": "zha", "盖": "ge", "区": "ou",
    "朴": "piao", "翟": "zhai", "缪": "miao", "任": "ren", "乐": "yue", "员": "yun", "种": "chong",
    "尉": "wei", "繁": "po", "秘": "bi", "折": "she", "黑": "he", "洗": "xian", "华": "hua",
    "重": "chong", "召": "shao", "那": "na", "覃": "qin", "谌": "chen", "逄": "pang", "阚": "kan",
}  # fmt: skip
"""Family names whose reading differs from the character's common one."""

_CHINESE_TITLES = re.compile(r"(先生|女士|小姐|太太|老师|经理|总监|主任|医生|师傅|同学)$")
_LATIN_TITLES = frozenset(
    _words("mr mrs ms miss mx dr prof professor sir madam herr frau mme mlle sr sra don dona")
)
_LATIN_SUFFIXES = frozenset(["jr", "sr", "ii", "iii", "iv", "phd", "md", "esq"])
_PARTICLES = frozenset(
    _words("van von der den de del della di da dos du la le bin ibn al el ter ten zu")
)
PINYIN_SURNAMES = frozenset(
    _words(
        "wang li zhang liu chen yang zhao huang zhou wu xu sun hu zhu gao lin he guo ma luo "
        "liang song zheng xie han tang feng yu dong xiao cheng cao yuan deng fu shen zeng "
        "peng lu su jiang cai jia ding wei xue ye yan pan du dai xia zhong tian ren fan fang "
        "shi yao tan liao zou xiong jin hao kong bai cui kang mao qiu qin gu hou shao meng "
        "long wan duan qian yin ouyang zhuge sima shangguan situ"
    )
)
_COMMONEST_SURNAMES = frozenset(
    _words("wang li zhang liu chen yang zhao huang zhou wu xu sun hu zhu gao lin he guo ma luo")
)
_SYLLABLE = re.compile(
    r"(?:[zcs]h|[bpmfdtnlgkhjqxrzcsyw])?(?:iang|iong|uang|ang|eng|ing|ong|iao|ian|uai|uan|ai|ei|"
    r"ao|ou|an|en|in|un|ia|ie|iu|ua|uo|ui|ue|a|o|e|i|u|v|er)"
)

_NOTHING = frozenset(
    _words(
        "null none nil nan n/a na unknown unkown test tester anonymous - -- --- . ? x xx xxx "
        "无 未知 匿名 测试 不详 暂无 空 没有 保密"
    )
)


def fold(text: str | None) -> str | None:
    """Width, case, accents' composition and spaces unified; traditional characters simplified.

    Words that mean "nothing" (null, n/a, 未知, 测试 ...) become None.
    """
    if text is None:
        return None
    folded = _SPACE.sub(" ", unicodedata.normalize("NFKC", text).casefold()).strip()
    if CJK.search(folded):
        folded = folded.translate(_SIMPLIFIED)
    return None if not folded or folded in _NOTHING else folded


@lru_cache(maxsize=1)
def _converter() -> opencc.OpenCC:
    return opencc.OpenCC("t2s")


class _Simplified(dict[int, str]):
    """Character -> simplified character, asked of OpenCC once each."""

    def __missing__(self, code: int) -> str:
        character = chr(code)
        self[code] = _converter().convert(character) if CJK.match(character) else character
        return self[code]


_SIMPLIFIED = _Simplified()


@cache
def _reading(character: str) -> str:
    return "".join(lazy_pinyin(character, style=Style.NORMAL)).replace("ü", "v")


def _strip_accents(text: str) -> str:
    text = text.replace("ß", "ss").replace("ø", "o").replace("ł", "l").replace("æ", "ae")
    return "".join(
        character
        for character in unicodedata.normalize("NFD", text)
        if not unicodedata.combining(character)
    )


def latin(text: str | None, *, surname: bool = False) -> str | None:
    """Letters a-z only: Chinese by its pinyin without tones, Latin without accents and spaces."""
    if text is None:
        return None
    if CJK.search(text):
        parts = [_reading(character) for character in text]
        if surname and text not in COMPOUND_SURNAMES and text[0] in SURNAME_READINGS:
            parts[0] = SURNAME_READINGS[text[0]]
        text = "".join(parts)
    return re.sub(r"[^a-z]", "", _strip_accents(text)) or re.sub(r"[\W_]", "", text) or None


def name_part(text: str | None) -> str | None:
    """A given or family name: folded, letters and single spaces only, titles taken off."""
    folded = fold(text)
    if folded is None:
        return None
    if CJK.search(folded):
        cleaned = re.sub(r"[^\w]", "", _CHINESE_TITLES.sub("", folded))
    else:
        words = re.sub(r"[^\w\s]", " ", folded.replace("'", "").replace("’", "")).split()
        cleaned = " ".join(word for word in words if word not in _LATIN_TITLES) or " ".join(words)
    return None if not cleaned or cleaned.isdigit() or cleaned in _NOTHING else cleaned


@lru_cache(maxsize=4)  # its parts are asked for one after the other
def split_name(text: str | None) -> tuple[str | None, str | None]:
    """Given and family name of a full name; None where one of them is not said.

    Chinese: the family name comes first, compound ones are known, 王先生 has only a family
    name. Latin: "Family, Given" by its comma; otherwise the last word and its particles are the
    family name, unless the words are pinyin that begin with a Chinese family name (where the
    first and the last word could both be one, the commoner one is).
    """
    folded = fold(text)
    if folded is None:
        return None, None
    if CJK.search(folded):
        return _split_chinese(folded)
    if "," in folded:
        family, _, given = folded.partition(",")
        return name_part(given), name_part(family)
    cleaned = name_part(folded)
    if cleaned is None:
        return None, None
    words = cleaned.split()
    while len(words) > 2 and words[-1] in _LATIN_SUFFIXES:
        words.pop()
    if len(words) == 1:
        return words[0], None
    western = words[-1] in _COMMONEST_SURNAMES and words[0] not in _COMMONEST_SURNAMES
    if (
        words[0] in PINYIN_SURNAMES
        and not western
        and all(_SYLLABLE.sub("", word) == "" for word in words[1:])
    ):
        return " ".join(words[1:]), words[0]
    start = len(words) - 1
    while start > 1 and words[start - 1] in _PARTICLES:
        start -= 1
    return " ".join(words[:start]), " ".join(words[start:])


def _split_chinese(folded: str) -> tuple[str | None, str | None]:
    titled = _CHINESE_TITLES.search(folded) is not None
    if re.search(r"[·•‧.]", folded):  # a transliterated name: given name first
        given, _, family = re.sub(r"[·•‧.]", "·", folded).partition("·")
        return name_part(given), name_part(family.replace("·", ""))
    name = name_part(folded)
    if name is None:
        return None, None
    length = next((size for size in (4, 2) if name[:size] in COMPOUND_SURNAMES), 1)
    if titled and len(name) <= length:
        return None, name
    if len(name) <= length or (len(name) == 2 and length == 1 and name[0] not in SURNAMES):
        return name, None
    return name[length:], name[:length]


_SHORT_FORMS = {
    short: formal
    for formal, shorts in {
        "abigail": "abby gail", "albert": "al bert", "alexander": "alex sasha xander",
        "andrew": "andy drew", "anthony": "tony", "barbara": "barb babs", "benjamin": "ben benny",
        "catherine": "kate cathy katie kathy cate kitty katherine kathryn catharine",
        "charles": "charlie chuck", "christina": "tina chris christy christine",
        "christopher": "chris topher kit", "cynthia": "cindy", "daniel": "dan danny",
        "david": "dave davey", "deborah": "deb debbie debra", "donald": "don donny",
        "dorothy": "dot dotty", "edward": "ed eddie ted ned",
        "elizabeth": "liz beth betty lisa eliza libby bess lizzie elisabeth",
        "emily": "em emmy", "frances": "fran", "francis": "frank", "frederick": "fred freddy",
        "gabriel": "gabe", "gerald": "gerry jerry", "gregory": "greg", "harold": "harry hal",
        "henry": "hank", "isabella": "bella izzy isabel", "jacob": "jake",
        "james": "jim jimmy jamie", "janet": "jan", "jennifer": "jen jenny jenn",
        "jessica": "jess jessie", "john": "jack johnny jon", "jonathan": "jon",
        "joseph": "joe joey", "joshua": "josh", "judith": "judy", "kenneth": "ken kenny",
        "kimberly": "kim", "lawrence": "larry", "leonard": "len lenny", "margaret":
        "meg maggie peggy marge", "matthew": "matt", "michael": "mike mick mickey",
        "nathaniel": "nate nathan", "nicholas": "nick nicky", "pamela": "pam",
        "patricia": "pat patty trish", "patrick": "paddy", "peter": "pete",
        "philip": "phil phillip", "raymond": "ray", "rebecca": "becky",
        "richard": "rich rick dick ricky richie", "robert": "bob rob bobby robbie bert",
        "ronald": "ron ronny", "samantha": "sam", "samuel": "sam sammy", "stephanie": "steph",
        "stephen": "steve steven stevie", "susan": "sue susie suzanne", "theodore": "ted theo",
        "thomas": "tom tommy", "timothy": "tim", "victoria": "vicky tori",
        "vincent": "vince", "virginia": "ginny", "walter": "walt",
        "william": "bill will billy willy liam", "zachary": "zach zack",
    }.items()
    for short in shorts.split()
}  # fmt: skip


def formal_name(spelt: str | None) -> str | None:
    """The formal name of an English short form (bob -> robert), other names as they are."""
    return _SHORT_FORMS.get(spelt, spelt) if spelt else None


def is_pinyin(letters: str) -> bool:
    """Whether Latin letters can be read as pinyin: ``weiyong`` can, ``kevin`` cannot."""
    return _SYLLABLE.sub("", letters) == ""


def english_beside_pinyin(text: str | None) -> bool:
    """Whether a full name is an English given name with a Chinese family name (Kevin Wang).

    Such a given name says nothing about the Chinese one.
    """
    given, family = split_name(text)
    if given is None or family is None or CJK.search(given + family):
        return False
    plain = latin(given) or ""
    is_english = plain in _ENGLISH and (fold(text) or "").startswith(given)
    return latin(family) in PINYIN_SURNAMES and (is_english or not is_pinyin(plain))


_ENGLISH = frozenset(
    _words(
        "tina lisa susan diana nina gina mia ada anna dana leo luna elena helena amanda hanna "
        "selina tania sonia bella ella ian ben dan gigi mimi kiki lulu fifi"
    )
)
"""English given names that can be read as pinyin; they stand before the family name."""


def name_in_email(address: str | None, family: str | None) -> tuple[str, str] | None:
    """Given and family name, in Latin letters, that a Chinese e-mail address is made of.

    ``haibinwang_630@...`` is (haibin, wang), as is ``wanghaibin@``. None where the letters are no
    name, or could be two: ``limeishi`` is Li Meishi or Shi Limei, unless ``family`` (Latin) is
    known.
    """
    letters = _LETTERS.match((address or "").partition("@")[0])
    if letters is None:
        return None
    run = letters[0]
    found = set()
    for size in range(2, min(len(run) - 1, 9)):
        for surname, given in ((run[:size], run[size:]), (run[-size:], run[:-size])):
            if surname == family or (family is None and surname in PINYIN_SURNAMES):
                syllables = _syllables(given)
                if syllables and syllables <= 2:
                    found.add((given, surname))
    return found.pop() if len(found) == 1 else None


_LETTERS = re.compile(r"[a-z]{4,}(?![a-z.])")


def _syllables(letters: str) -> int:
    """Number of pinyin syllables that the letters can be read as, the fewest; 0 for none."""
    fewest = [0] + [0] * len(letters)
    for end in range(1, len(letters) + 1):
        counts = [
            fewest[start] + 1
            for start in range(max(0, end - 6), end)
            if (start == 0 or fewest[start]) and _SYLLABLE.fullmatch(letters[start:end])
        ]
        fewest[end] = min(counts, default=0)
    return fewest[-1]


_LUNAR = re.compile(
    r"(\d{4})年?(?:农历|阴历|旧历)(闰)?(正|[一二三四五六七八九十冬腊]+)月"
    r"(初[一二三四五六七八九十]|[十廿三]?[一二三四五六七八九十]+)日?"
)
_LUNAR_MONTHS = {"正": 1, "冬": 11, "腊": 12, "十一": 11, "十二": 12}
_CHINESE_DIGITS = {sign: number for number, sign in enumerate("一二三四五六七八九十", start=1)}


def lunar_text(text: str | None) -> str | None:
    """``1960年农历九月廿二`` as ``1960-09-22`` of the lunar calendar; None for other texts."""
    match = _LUNAR.search(unicodedata.normalize("NFKC", text)) if text else None
    if match is None:
        return None
    month = _LUNAR_MONTHS.get(match[3]) or _CHINESE_DIGITS.get(match[3])
    day = match[4].removeprefix("初")
    tens = {"十": 10, "廿": 20, "二": 20, "三": 30}
    if len(day) == 1:
        number = _CHINESE_DIGITS[day]
    elif day in {"二十", "三十"}:
        number = tens[day[0]]
    else:
        number = tens.get(day[0], 0) + _CHINESE_DIGITS.get(day[-1], 0)
    return f"{match[1]}-{month:02d}-{number:02d}" if month else None


@lru_cache(maxsize=100_000)
def from_lunar(text: str | None) -> str | None:
    """A lunar ``YYYY-MM-DD`` as a solar one; None where there is no such day.

    The year is taken as the one of the identity card, which is solar: the eleventh and twelfth
    month are then those that end in it.
    """
    try:
        year, month, day = (int(part) for part in (text or "").split("-"))
        solar = next(
            date
            for date in (
                LunarDate(lunar_year, month, day).to_solar_date() for lunar_year in (year, year - 1)
            )
            if date.year == year
        )
    except (ValueError, StopIteration):
        return None
    return solar.isoformat()


_HOUSE = re.compile(r"(\d+)(?:号楼|[幢栋座号]|-)(?:(\d+)(?:单元|-))?(\d{3,4})室?$")
_ROAD = re.compile(r"([^省市区县\d]*?(?:大道|路|街|巷|道))(?:\d+[号弄])?")
_REGION = re.compile(r"^(?:[^省]{2,3}省)?(?:[^市]{2,4}市){0,2}(?:[^区县]{1,4}[区县])?")


@lru_cache(maxsize=4)  # its parts are asked for one after the other
def home(text: str | None) -> tuple[str | None, str | None]:
    """Two keys of a Chinese flat: road, building and room; estate, building and room.

    ``13-1-702`` and ``中山路5号锦绣园13号楼1单元702室`` share the keys that
    they have the parts for. (None, None) for what does not end in building and room.
    """
    if not text or not CJK.search(text):
        return None, None
    body = unicodedata.normalize("NFKC", text).translate(_SIMPLIFIED).strip()
    road = None
    if body.endswith(")") and "(" in body:
        body, _, road = body[:-1].rpartition("(")
    match = _HOUSE.search(body.strip())
    if match is None:
        return None, None
    place = f"{int(match[1])}|{int(match[3])}"
    head = body[: match.start()].split(" ")
    head_text = "".join(head[1:]) if len(head) > 1 else head[0]
    head_text = _REGION.sub("", head_text) or head_text
    named = _ROAD.match(head_text)
    if named is not None:
        road, head_text = named[1], head_text[named.end() :]
    estate = head_text.strip(" ,，")
    return (f"{road}|{place}" if road else None, f"{estate}|{place}" if estate else None)


_DATE_PARTS = re.compile(r"^(\d{1,4})\D+(\d{1,2})\D+(\d{1,4})(?!\d)")
_NAMED_MONTH = re.compile(r"[a-z]{3,9}")
_MONTHS = {
    name: number
    for number, name in enumerate(
        _words("jan feb mar apr may jun jul aug sep oct nov dec"),
        start=1,
    )
}


def _is_year(digits: str) -> bool:
    return digits[:2] in {"18", "19", "20"}


def date_parts(text: str) -> tuple[str, str, str] | None:
    """Three runs of digits in the order they are written; a named month becomes its number."""
    folded = unicodedata.normalize("NFKC", text).casefold().strip()
    if re.fullmatch(r"\d{8}", folded):
        if not _is_year(folded[:4]) and _is_year(folded[4:]):
            return folded[:2], folded[2:4], folded[4:]
        return folded[:4], folded[4:6], folded[6:]
    named = _NAMED_MONTH.search(folded)
    if named and named.group()[:3] in _MONTHS:
        number = f"-{_MONTHS[named.group()[:3]]}-"
        rest = folded.replace(named.group(), number, 1)
        if rest.startswith("-"):  # March 5, 1980: month first
            month, day_year = rest[1:].split("-", 1)
            digits = re.findall(r"\d+", day_year)
            return (digits[0], month, digits[1]) if len(digits) >= 2 else None
        folded = rest
    match = _DATE_PARTS.match(folded)
    return (match[1], match[2], match[3]) if match else None


def date_order(values: Iterable[str]) -> str:
    """``ymd``, ``dmy`` or ``mdy``: the order of day and month that most values prove."""
    day_first = month_first = 0
    for value in values:
        parts = date_parts(value)
        if parts is None or len(parts[0]) == 4:
            continue
        day_first += 12 < int(parts[0]) <= 31
        month_first += 12 < int(parts[1]) <= 31
    return "mdy" if month_first > day_first else "dmy"


def birthday(text: str | None, *, form: str | None = None, order: str = "dmy") -> str | None:
    """``YYYY-MM-DD``; a mistyped day such as 1996-13-72 is kept, since it still compares.

    Args:
        text: the value.
        form: strptime format, when it is known; values that do not fit it are read without.
        order: order of day and month where the year comes last (from ``date_order``).
    """
    if text is None:
        return None
    if form is not None:
        try:
            return datetime.strptime(text.strip(), form).strftime("%Y-%m-%d")  # noqa: DTZ007, a day has no zone
        except ValueError:
            pass
    parts = date_parts(text)
    if parts is None:
        return None
    first, second, third = parts
    if len(first) == 4:
        year, month, day = first, second, third
    elif order == "mdy":
        month, day, year = first, second, third
    else:
        day, month, year = first, second, third
    if len(year) == 2:
        # two digits: nobody is born in the future, so 30 and more mean the last century
        year = ("19" if int(year) >= 30 else "20") + year
    if len(year) != 4 or len(day) > 2:
        return None
    return f"{year}-{int(month):02d}-{int(day):02d}"


_CHINESE_MOBILE = re.compile(r"^(?:\+?86|0086)?(1[3-9]\d{9})$")


def phone(text: str | None, region: str = "CN") -> str | None:
    """E.164 where the number is possible in ``region``, else its digits; None under 5 digits."""
    if text is None:
        return None
    folded = unicodedata.normalize("NFKC", text).strip()
    digits = re.sub(r"[^\d+]", "", folded)
    mobile = _CHINESE_MOBILE.match(digits) if region == "CN" else None
    if mobile:
        return f"+86{mobile[1]}"
    if len(digits.lstrip("+")) < 5:
        return None
    try:
        number = phonenumbers.parse("+" + digits[2:] if digits.startswith("00") else folded, region)
    except phonenumbers.NumberParseException:
        return digits.lstrip("+")
    if not phonenumbers.is_possible_number(number):
        return digits.lstrip("+")
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def email(text: str | None) -> str | None:
    """Lower case, without tag (``a+shop@``) and, at Gmail, without dots; None without ``@``."""
    if text is None:
        return None
    folded = unicodedata.normalize("NFKC", text).casefold().strip().removeprefix("mailto:")
    user, at, domain = folded.replace(" ", "").rpartition("@")
    if not at or not user or "." not in domain:
        return None
    user = user.partition("+")[0] or user
    if domain in {"gmail.com", "googlemail.com"}:
        user, domain = user.replace(".", ""), "gmail.com"
    return f"{user}@{domain}"


def identifier(text: str | None) -> str | None:
    """Letters and digits in upper case; None for words that mean nothing, or one repeated sign."""
    folded = fold(text)
    if folded is None:
        return None
    cleaned = re.sub(r"[\W_]", "", folded).upper()
    return None if len(set(cleaned)) < 2 else cleaned


def identifier_or_digit(text: str | None) -> str | None:
    """As ``identifier``, but a single repeated sign is a value: house number 7, postcode 2222."""
    folded = fold(text)
    return (re.sub(r"[\W_]", "", folded).upper() or None) if folded else None


_SEXES = {
    **dict.fromkeys(("m", "male", "man", "男", "男性", "先生", "1", "herr", "mr"), "m"),
    **dict.fromkeys(("f", "female", "woman", "w", "女", "女性", "女士", "2", "frau", "ms"), "f"),
}


def sex(text: str | None) -> str | None:
    """``m``, ``f``, or None."""
    return _SEXES.get(fold(text) or "")


def title_sex(text: str | None) -> str | None:
    """``m`` or ``f`` where a Chinese name ends in such a title (王先生), else None."""
    title = _CHINESE_TITLES.search(fold(text) or "")
    return {"先生": "m", "女士": "f", "小姐": "f", "太太": "f"}.get(title[1]) if title else None


_STREET_WORDS = {
    "street": "st", "str": "st", "strasse": "st", "road": "rd", "avenue": "ave", "av": "ave",
    "drive": "dr", "lane": "ln", "court": "ct", "crescent": "cr", "cres": "cr", "place": "pl",
    "boulevard": "blvd", "highway": "hwy", "square": "sq", "terrace": "tce", "parade": "pde",
    "circuit": "cct", "close": "cl", "apartment": "apt", "unit": "apt", "flat": "apt",
    "suite": "apt", "north": "n", "south": "s", "east": "e", "west": "w", "saint": "st",
    "mount": "mt", "fort": "ft", "number": "no", "nr": "no",
}  # fmt: skip


def address(text: str | None) -> str | None:
    """Words in their short forms without punctuation; Chinese without spaces."""
    folded = fold(text)
    if folded is None:
        return None
    if CJK.search(folded):
        joined = re.sub(r"[\W_]", "", folded)
        return re.sub(r"[幢栋]", "号楼", joined).replace("单元", "-").replace("房", "室") or None
    words = re.sub(r"[\W_]+", " ", _strip_accents(folded)).split()
    return " ".join(_STREET_WORDS.get(word, word) for word in words) or None


def place(text: str | None) -> str | None:
    """A city or region: as an address, Chinese without 省, 市, 自治区 at its end."""
    cleaned = address(text)
    if cleaned and CJK.search(cleaned) and len(cleaned) > 2:
        cleaned = re.sub(
            r"(维吾尔自治区|壮族自治区|回族自治区|自治区|特别行政区|省|市)$", "", cleaned
        )
    return cleaned
