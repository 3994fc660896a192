"""Made-up Chinese customers in several systems, with the truth: for benchmarks and tests.

What belongs here: names, phones, addresses that look real enough, and the faults that real ones
have: homophones, traditional characters, typos, family phones, recycled phones, dummies. What
does not: anything that resolves them.
"""

from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa


def _words(text: str) -> list[str]:
    return text.split()


SURNAMES = _words(
    "王 李 张 刘 陈 杨 赵 黄 周 吴 徐 孙 胡 朱 高 林 何 郭 马 罗 梁 宋 郑 谢 韩 唐 冯 于 "
    "董 萧 程 曹 袁 邓 许 傅 沈 曾 彭 吕 苏 卢 蒋 蔡 贾 丁 魏 薛 叶 阎 余 潘 杜 戴 夏 钟 "
    "汪 田 任 姜 范 方 石 姚 谭 廖 邹 熊 金 陆 郝 孔 白 崔 康 毛 邱 秦 江 史 顾 侯 邵 孟 "
    "龙 万 段 雷 钱 汤 尹 黎 易 常 武 乔 贺 赖 龚 文 欧阳 上官 诸葛 司马"
)
GIVEN = _words(
    "伟 芳 娜 秀 英 敏 静 丽 强 磊 军 洋 勇 艳 杰 娟 涛 明 超 兰 霞 平 刚 桂 文 辉 玲 建 "
    "国 华 建 红 梅 鑫 宇 浩 然 子 涵 梓 轩 雨 欣 怡 佳 琪 思 远 志 鹏 飞 晓 东 海 燕 雪 "
    "琳 婷 倩 慧 颖 博 俊 凯 嘉 诚 家 豪 天 佑 一 诺 可 心 语 嫣 若 曦 沐 辰 皓 睿 泽 楷 "
    "瑞 霖 铭 森 淑 珍 凤 春 秋 月 云 龙 虎 德 福 祥 贵 成 才 学 忠 孝 仁 义"
)
HOMOPHONES = dict(zip("伟芳静丽强杰敏明玲佳志晓", "玮方婧莉蔷洁闵鸣铃嘉智小", strict=True))
TRADITIONAL = str.maketrans("张刘陈杨赵黄吴孙马罗郑谢韩冯伟丽强军华轩诚龙凤云国",
                            "張劉陳楊趙黃吳孫馬羅鄭謝韓馮偉麗強軍華軒誠龍鳳雲國")  # fmt: skip
CITIES = _words("北京 上海 广州 深圳 杭州 成都 武汉 南京 西安 重庆 苏州 天津 长沙 郑州 青岛 宁波")
STREETS = _words(
    "人民路 中山路 解放路 建设路 和平路 新华路 文化路 朝阳路 长江路 黄河路 北京路 南京路"
)
DUMMIES = ("13800000000", "13888888888", "02112345678")


def make_people(records: int, seed: int = 7) -> pa.Table:
    """About ``records`` records with faults, one row each, truth in ``person_id``.

    Columns: record_id, person_id, full_name, sex, birthday, phone, email, city, address, source.
    """
    random = np.random.default_rng(seed)
    persons = int(records * 0.62)
    households = np.sort(random.integers(0, max(1, int(persons * 0.55)), persons))
    surname_of = random.zipf(1.25, households.max() + 1) % len(SURNAMES)
    surnames = np.array(SURNAMES)[
        np.where(random.random(persons) < 0.6, surname_of[households],
                 random.integers(0, len(SURNAMES), persons))
    ]  # fmt: skip
    given = np.array(GIVEN)
    first, second = (given[random.integers(0, len(given), persons)] for _ in range(2))
    second = np.where(random.random(persons) < 0.25, "", second)
    names = np.char.add(np.char.add(surnames, first), second)
    born = np.datetime64("1945-01-01") + random.integers(0, 365 * 62, persons)
    # 997 is prime to what the digits count, so that numbers look unalike
    subscribers = 3_000_000_000 + random.permutation(6_900_000)[:persons].astype(np.int64) * 997
    phones = np.char.add("1", subscribers.astype(str))
    home = random.integers(0, 10**9, households.max() + 1)
    cities = np.array(CITIES)[home[households] % len(CITIES)]
    streets = np.array(STREETS)[home[households] // 16 % len(STREETS)]
    numbers = (home[households] // 192 % 900 + 1).astype(str)
    rooms = (home[households] // 172_800 % 2900 + 101).astype(str)
    addresses = np.array(
        [f"{city}市{street}{number}号{room}室" for city, street, number, room in
         zip(cities, streets, numbers, rooms, strict=True)]
    )  # fmt: skip
    emails = np.array([f"user{number}@example.com" for number in random.permutation(persons)])

    copies = random.choice([1, 2, 3, 4], persons, p=[0.6, 0.25, 0.1, 0.05])
    who = np.repeat(np.arange(persons), copies)[:records]
    count = len(who)
    chance = random.random((8, count))
    name, born_on, phone = names[who].tolist(), born[who].astype(str).tolist(), phones[who].tolist()
    email, address, city = emails[who].tolist(), addresses[who].tolist(), cities[who].tolist()
    # the first person of the household lends the phone; numbers of the dead and gone move on
    lender = np.searchsorted(households, households)
    other = random.integers(0, persons, count)
    digit = random.integers(0, 10, count).astype(str)
    for row in range(count):
        roll = chance[:, row]
        if roll[0] < 0.04:
            name[row] = "".join(HOMOPHONES.get(sign, sign) for sign in name[row])
        elif roll[0] < 0.08:
            name[row] = name[row].translate(TRADITIONAL)
        elif roll[0] < 0.10:
            name[row] = name[row][0] + ("先生" if who[row] % 2 else "女士")
        elif roll[0] < 0.12:
            name[row] = name[row][:-1] + given[who[row] % len(given)]
        if roll[1] < 0.25:
            born_on[row] = None
        elif roll[1] < 0.30:
            born_on[row] = born_on[row][:-1] + digit[row]
        elif roll[1] < 0.50:
            born_on[row] = born_on[row].replace("-", "/")
        if roll[2] < 0.25:
            phone[row] = None
        elif roll[2] < 0.27:
            phone[row] = DUMMIES[row % len(DUMMIES)]
        elif roll[2] < 0.32:
            phone[row] = phones[lender[who[row]]]
        elif roll[2] < 0.335:
            phone[row] = phones[other[row]]
        elif roll[2] < 0.36:
            phone[row] = phone[row][:7] + digit[row] + phone[row][8:]
        elif roll[2] < 0.50:
            phone[row] = f"+86 {phone[row][:3]} {phone[row][3:7]} {phone[row][7:]}"
        if roll[3] < 0.55:
            email[row] = None
        if roll[4] < 0.35:
            address[row] = None
        elif roll[4] < 0.42:
            address[row] = addresses[other[row]]
        elif roll[4] < 0.5:
            address[row] = address[row].replace("市", "")
        if roll[5] < 0.1:
            city[row] = None
    order = random.permutation(count)
    return pa.table(
        {
            "record_id": [f"r{number:07d}" for number in range(count)],
            "person_id": [f"p{who[row]}" for row in order],
            "full_name": [name[row] for row in order],
            "sex": ["男" if who[row] % 2 else "女" for row in order],
            "birthday": [born_on[row] for row in order],
            "phone": [phone[row] for row in order],
            "email": [email[row] for row in order],
            "city": [city[row] for row in order],
            "address": [address[row] for row in order],
            "source": [("shop", "crm", "till")[row % 3] for row in order],
        }
    )


MAPPING = """fields:
  record_id: record_id
  full_name: full_name
  sex: sex
  birthday: birthday
  phone: phone
  email: email
  city: city
  address: address
  source: source
"""


def write_people(folder: Path, records: int, seed: int = 7) -> tuple[Path, Path, Path]:
    """Write people.parquet, truth.parquet and people.yml into ``folder``; return their paths."""
    made = make_people(records, seed)  # noqa: F841, DuckDB reads it by name
    paths = folder / "people.parquet", folder / "truth.parquet", folder / "people.yml"
    with duckdb.connect() as con:
        con.execute(f"COPY (SELECT * EXCLUDE person_id FROM made) TO '{paths[0]}' (FORMAT parquet)")
        con.execute(
            f"COPY (SELECT record_id, person_id FROM made) TO '{paths[1]}' (FORMAT parquet)"
        )
    paths[2].write_text(MAPPING, encoding="utf-8")
    return paths
