"""Chinese names by generation, with the ways in which people write them differently.

Surname weights follow the household register's published shares (in per mille).
"""

from dataclasses import dataclass
from itertools import product

SURNAMES = (
    "王72 李71 张68 刘54 陈45 杨31 黄22 赵20 吴20 周19 徐14 孙13 马12 朱12 胡11 郭11 何11 林11 高10"
    " 罗9 郑9 梁9 谢8 宋7 唐7 许6 韩6 邓6 冯6 曹6 彭6 曾6 肖6 田5 董5 潘5 袁5 蔡5 蒋5 余5 于5"
    " 杜4 叶4"
    " 程4 魏4 苏4 吕4 丁4 任4 卢4 姚4 沈4 钟4 姜4 崔4 谭4 陆4 范3 汪3 廖3 石3 金3 韦3 贾3 夏3"
    " 付3 方3"
    " 邹3 熊3 白3 孟3 秦3 邱3 侯3 江3 尹3 薛3 闫3 段3 雷3 龙2 黎2 史2 陶2 贺2 毛2 郝2 顾2 龚2"
    " 邵2 万2"
    " 覃2 武2 钱2 戴2 严2 莫2 孔2 向2 常2 汤2 欧阳1 上官1 司马1 诸葛1 皇甫1 慕容1 令狐1 司徒1 夏侯1"
)
SURNAME_HOMOPHONES = (
    "张章 李黎 刘留 陈程 杨阳 黄王 吴武 徐许 朱诸 何贺 林临 罗骆 梁良 许徐 肖萧 袁元 蒋江 余于 于余"
    " 程成 魏卫 卢陆 姜江 陆路 付傅 邱丘 江姜 闫阎 黎李 顾故 郑政 曾增 沈审 宋送 高郜 谢解 章张"
    " 范樊"
)
GIVEN = {
    ("old", "男"): (
        "建 国 志 文 永 德 福 明 玉 长 庆 卫 保 振 学",
        "国 华 强 军 明 林 生 平 民 才 山 海 东 忠 良",
    ),
    ("old", "女"): (
        "秀 桂 玉 淑 凤 美 春 素 兰 月 丽 金 红 爱 翠",
        "英 兰 珍 华 芳 梅 莲 云 香 琴 霞 萍 荣 清 娥",
    ),
    ("mid", "男"): (
        "志 建 海 晓 国 文 俊 永 伟 少 宏 立 剑 家 向",
        "伟 强 军 杰 波 涛 勇 鹏 辉 斌 峰 明 刚 亮 东",
    ),
    ("mid", "女"): (
        "晓 丽 海 春 雪 美 艳 小 燕 红 静 文 秋 冬 慧",
        "燕 霞 丽 敏 静 娟 玲 红 梅 芳 萍 琳 莉 娜 华",
    ),
    ("new", "男"): (
        "浩 子 俊 宇 志 天 嘉 文 泽 思 家 明 振 一 博",
        "然 轩 杰 豪 鑫 辰 宇 涵 阳 航 凯 源 睿 博 洋",
    ),
    ("new", "女"): (
        "雨 子 欣 思 梦 佳 诗 嘉 婉 晨 雅 一 语 若 心",
        "涵 怡 婷 琪 萱 妍 瑶 菲 雯 悦 彤 宁 颖 欣 琳",
    ),
}
SINGLE = {
    ("old", "男"): "军 平 刚 勇 毅 林 斌 民",
    ("old", "女"): "英 兰 芳 珍 梅 敏 华 琴",
    ("mid", "男"): "伟 强 磊 军 勇 涛 超 鹏 杰 斌 波 辉",
    ("mid", "女"): "静 丽 敏 艳 娟 霞 芳 燕 娜 洁 玲 慧",
    ("new", "男"): "浩 昊 帅 宇 杰 睿 凯 鑫 旭 晨 阳 航",
    ("new", "女"): "婷 悦 颖 雪 莹 倩 洁 瑶 琳 欣 萌 彤",
}
HOMOPHONES = (
    "婷亭 欣新 涵含 怡宜 萱宣 妍研 佳家 嘉佳 子紫 俊峻 杰洁 伟炜 强墙 军君 志智 建健 国果 明铭 华桦"
    " 文雯 雯文 英瑛 兰岚 芳方 珍真 梅玫 敏闽 静净 丽莉 莉丽 娜那 玲铃 燕艳 艳燕 霞侠 红虹 雪学"
    " 晓小"
    " 小晓 浩皓 昊浩 宇雨 雨宇 轩宣 辰晨 晨辰 阳洋 洋阳 航杭 凯楷 源元 睿瑞 博波 波博 涛滔 鹏朋"
    " 辉晖"
    " 斌彬 峰锋 磊垒 超朝 勇永 永勇 德得 福富 玉育 秀绣 桂贵 淑书 凤风 美媚 春纯 莲连 云芸 香湘"
    " 琴勤"
    " 思斯 梦孟 诗施 琪奇 瑶遥 菲飞 悦月 彤童 宁凝 颖影 琳林 林琳 心欣 若偌 语雨 雅亚 泽则 天添"
    " 豪毫"
    " 鑫新 家佳 娟鹃 慧惠 萍平 平萍 洁杰 倩茜 莹盈 萌盟 旭续 帅率 民明 海孩 山珊 东冬 忠中 良亮"
    " 亮良"
)
LATIN = (
    "Vivian Kevin Jason Cindy Tony Amy Jack Lucy Eric Grace David Lily Leo Coco Allen Fiona Jerry"
    " Sophie Vincent Tina Ryan Alice Steven Joyce Andy Yuki Michael Emma Frank Nina Daniel Ivy"
)
FOREIGN = (
    "John Smith,Maria Garcia,Kim Min-jun,Tanaka Yuko,Pierre Martin,Anna Schmidt,Ivan Petrov,"
    "James Wilson,Nguyen Thi Lan,Sarah Johnson,Park Ji-woo,Marco Rossi,Emily Brown,Ahmed Hassan"
)
NICK_HEADS = (
    "阳光 快乐 小 大 爱吃 追风 晴天 静静的 奔跑的 南方 北方 云淡 微笑 可爱 深海 午后 星空"
    " 会飞的"
    " 爱喝茶的 不想上班的 早睡的 加班的 温柔 佛系"
)
NICK_TAILS = (
    "猫咪 妈妈 橙子 西瓜 少年 老王 鱼 豆豆 宝贝 向日葵 熊 兔子 风铃 柠檬 奶爸 小鱼干 糖糖 蜗牛 月亮"
    " 土豆 小狐狸 石头 叶子 咖啡 麦兜"
)


@dataclass(frozen=True)
class Written:
    """A name part in every way it is written: simplified, traditional, homophone, pinyin."""

    plain: str
    traditional: str
    homophone: str
    pinyin: str


def _written(parts: list[str], homophones: dict[str, str]) -> list[Written]:
    from opencc import OpenCC
    from pypinyin import lazy_pinyin

    convert = OpenCC("s2t").convert
    special = {"曾": "zeng", "任": "ren", "覃": "qin", "尹": "yin", "单": "shan"}
    found = []
    for part in parts:
        # only the last character that has a homophone is replaced: two would be another name
        spots = [i for i, character in enumerate(part) if character in homophones]
        other = part
        if spots:
            spot = spots[-1]
            other = part[:spot] + homophones[part[spot]] + part[spot + 1 :]
        pinyin = special.get(part) or "".join(lazy_pinyin(part))
        found.append(Written(part, convert(part), other, pinyin.capitalize()))
    return found


def surnames() -> list[tuple[int, Written]]:
    """Weight in per mille and forms of each surname."""
    weighted = [(item.rstrip("0123456789"), item) for item in SURNAMES.split()]
    homophones = {pair[0]: pair[1] for pair in SURNAME_HOMOPHONES.split()}
    forms = _written([name for name, _ in weighted], homophones)
    return [
        (int(item[len(name) :]), form) for (name, item), form in zip(weighted, forms, strict=True)
    ]


def given_names() -> list[tuple[str, str, Written]]:
    """Generation ("old", "mid", "new"), sex and forms of each given name; singles count often."""
    homophones = {pair[0]: pair[1] for pair in HOMOPHONES.split()}
    found = []
    for key, (heads, tails) in GIVEN.items():
        pairs = product(heads.split(), tails.split())
        doubles = [head + tail for head, tail in pairs if head != tail]
        singles = SINGLE[key].split() * (6 if key[0] == "mid" else 3)
        found += [(*key, form) for form in _written(doubles + singles, homophones)]
    return found
