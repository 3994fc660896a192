"""Cities, their districts with GB/T 2260 codes, and roads; data in cities.txt beside this file."""

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


def _lines() -> list[list[str]]:
    text = (Path(__file__).parent / "cities.txt").read_text(encoding="utf-8")
    return [line.split("|") for line in text.splitlines()]


def cities() -> list[tuple[object, ...]]:
    """Index, code, province, city, latitude, longitude, weight, area code, roads."""
    rows: list[tuple[object, ...]] = []
    for code, province, city, point, weight, area, _, roads in _lines():
        latitude, longitude = point.split(",")
        rows.append(
            (len(rows), code, province, city, float(latitude), float(longitude), int(weight),
             area, roads.split())
        )  # fmt: skip
    return rows


def districts() -> list[tuple[object, ...]]:
    """Index, index of the city, code, name, and a point some kilometres off the centre."""
    rows: list[tuple[object, ...]] = []
    for index, line in enumerate(_lines()):
        latitude, longitude = (float(part) for part in line[3].split(","))
        # Dongguan and Zhongshan have no districts: the city's own code, no name
        for place, item in enumerate(line[6].split() or [line[0]]):
            rows.append(
                (len(rows), index, item[:6], item[6:],
                 latitude + (place % 3 - 1) * 0.05 + place * 0.004,
                 longitude + (place // 3 - 1) * 0.06 + place * 0.003)
            )  # fmt: skip
    return rows
