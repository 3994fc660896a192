"""Cities, their districts with GB/T 2260 codes, and roads; data in cities.txt beside this file.

Each district has its own coordinates and the main road that lies in it, in the districts' order.
"""

from pathlib import Path

COMMUNITIES = (
    "阳光花园 金色家园 翠湖苑 万科城 碧桂园 恒大绿洲 保利香槟 龙湖天街 绿地世纪城 中海国际 锦绣江南"
    " 幸福里 和平小区 新华小区 建设新村 教师公寓 铁路小区 东方明珠 滨江一号 香樟园 融创壹号院"
    " 华润橡树湾"
    " 世茂滨江 紫金花园 丽景名苑 书香门第 枫林绿洲 康桥水郡 水岸名都 御景湾 万达公寓 招商花园城"
)
COMMON_ROADS = (
    "人民路 解放路 建设路 和平路 文化路 新华路 学府路 幸福路 朝阳路 胜利路 光明路 友谊路 青年路"
    " 体育路"
    " 滨河路 环城东路 迎宾大道 科技路 工业南路 长江路 黄河路 南湖路"
)

SHORT_AREA_CODES = "0315 0351 0471 0535 0539 0553 0592 0717 0771 0816 0931 0991"
"""Area codes whose numbers have seven digits; the others have eight."""


def _lines() -> list[list[str]]:
    text = (Path(__file__).parent / "cities.txt").read_text(encoding="utf-8")
    return [line.split("|") for line in text.splitlines()]


def cities() -> list[tuple[object, ...]]:
    """Index, code, province, city, latitude, longitude, weight, area code."""
    return [
        (index, code, province, city, *_point(point), int(weight), area)
        for index, (code, province, city, point, weight, area, _, _) in enumerate(_lines())
    ]


def districts() -> list[tuple[object, ...]]:
    """Index, index of the city, code, name, latitude, longitude, main roads."""
    rows: list[tuple[object, ...]] = []
    for index, (code, _, _, centre, _, _, named, roads) in enumerate(_lines()):
        if not named:
            # Dongguan and Zhongshan have no districts: the city's own code, no name
            rows.append((len(rows), index, code, "", *_point(centre), roads.split()))
        for item, road in zip(named.split(), roads.split(), strict=named != ""):
            name, point = item.split("@")
            rows.append((len(rows), index, name[:6], name[6:], *_point(point), [road]))
    return rows


def _point(text: str) -> tuple[float, float]:
    latitude, longitude = text.split(",")
    return float(latitude), float(longitude)
