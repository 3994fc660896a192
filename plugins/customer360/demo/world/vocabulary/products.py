"""What the brand 清岚 (Qinglan, invented) sells: appliances by category, and what they use up."""

import datetime as dt

BRAND = "清岚"

# category | code | word before the model | cheapest, dearest in yuan | warranty months |
# summer, winter, other weight | yearly fault share in per mille
CATEGORIES = """
空调|KFR|变频空调|2199,6899|72|9,2,4|70
冰箱|BCD|风冷冰箱|1899,8999|36|4,3,3|45
洗衣机|XQG|滚筒洗衣机|1599,5999|36|4,4,4|60
洗碗机|WQP|嵌入式洗碗机|2999,6999|24|2,3,3|75
油烟机|CXW|侧吸油烟机|1499,4599|36|2,3,3|40
热水器|JSQ|燃气热水器|1299,4299|36|2,6,3|65
净水器|RO|反渗透净水器|999,3999|24|5,4,5|80
空气净化器|KJ|空气净化器|899,3499|24|3,6,5|50
扫地机器人|SDJ|扫拖机器人|1299,4999|12|6,6,7|110
吸尘器|XCQ|无线吸尘器|599,2999|12|6,6,7|80
电饭煲|DFB|IH电饭煲|199,1299|12|8,9,9|30
破壁机|PBJ|轻音破壁机|249,1399|12|7,9,8|50
电烤箱|KX|电烤箱|199,1499|12|6,9,7|35
吹风机|CFJ|负离子吹风机|99,799|12|9,9,9|40
加湿器|JSJ|无雾加湿器|129,899|12|3,10,7|55
"""
SERIES = ("清风", "云岚", "沐光", "山屿")
# name | fits category | yuan | days until the next one is needed
CONSUMABLES = """
净水器复合滤芯|净水器|169|180
净水器RO膜滤芯|净水器|399|540
空净HEPA滤网|空气净化器|199|240
扫地机边刷滚刷套装|扫地机器人|89|120
扫地机尘袋6只装|扫地机器人|69|90
吸尘器HEPA滤芯|吸尘器|79|180
洗碗机专用盐2kg|洗碗机|39|60
洗衣机槽清洁剂4包|洗衣机|35|90
加湿器滤芯|加湿器|59|120
"""
PARTS = {
    "空调": "压缩机:680 室外主板:320 温度传感器:45 制冷剂:150 遥控器:30",
    "冰箱": "压缩机:720 门封条:80 温控器:110 主控板:260",
    "洗衣机": "排水泵:95 门锁:70 电机:420 主板:280 轴承:160",
    "洗碗机": "循环泵:380 加热管:120 门铰链:90 主板:300",
    "油烟机": "电机:280 开关面板:110 止回阀:40",
    "热水器": "点火针:35 水气联动阀:160 风机:220 主板:240",
    "净水器": "增压泵:180 进水电磁阀:60 压力桶:150 水龙头:80",
    "空气净化器": "风机:160 颗粒传感器:90 主板:130",
    "扫地机器人": "激光头:260 电池:240 主轮:110 风机:180 主板:420",
    "吸尘器": "电池:260 电机:320 地刷:150",
    "电饭煲": "内胆:120 加热盘:90 主板:80",
    "破壁机": "刀组:70 电机:150 杯体:90",
    "电烤箱": "发热管:60 温控器:50 门玻璃:90",
    "吹风机": "电源线:25 发热丝:40",
    "加湿器": "风扇:60 水泵:45 适配器:35",
}
FAULTS = {
    "空调": "E1不制冷 E4室外机不启动 F2漏水 H6噪音大",
    "冰箱": "E1不制冷 E3结霜严重 E5异响 E7门关不严",
    "洗衣机": "E10不排水 E30门锁报警 E50不脱水 F1漏水",
    "洗碗机": "E1不进水 E4漏水 E3不加热 E9洗不干净",
    "油烟机": "A1吸力变小 A2噪音大 A3按键失灵",
    "热水器": "E1打不着火 E2水温忽冷忽热 E5风机故障 E8漏水",
    "净水器": "C1不出水 C2漏水 C3一直冲洗 C5出水慢",
    "空气净化器": "P1风量变小 P2数值不准 P3异味",
    "扫地机器人": "S1不回充 S2迷路撞墙 S3续航变短 S5不出水",
    "吸尘器": "V1续航变短 V2吸力变小 V3充不进电",
    "电饭煲": "E3夹生糊底 E5不加热",
    "破壁机": "B1异味 B2漏液 B3不转",
    "电烤箱": "K1温度不准 K2不加热",
    "吹风机": "D1突然断电 D2有焦味",
    "加湿器": "J1不出雾 J2漏水 J3噪音大",
}


def catalogue() -> list[tuple[object, ...]]:
    """Rows of products.

    idx, sku, category, series, model, name, is_consumable, fits, list price in yuan, warranty
    months, launched on, weight in summer, winter and else, yearly fault share, use-up days.
    """
    rows: list[tuple[object, ...]] = []
    for line in CATEGORIES.split():
        category, code, word, prices, warranty, weights, faults = line.split("|")
        low, high = (int(price) for price in prices.split(","))
        summer, winter, other = (int(weight) for weight in weights.split(","))
        for place, series in enumerate(SERIES):
            price = (low + (high - low) * place**2 // 9) // 100 * 100 + 99
            model = f"{code}-{(place + 2) * 10 + len(rows) % 7}{'ABCD'[place]}{place + 1}"
            launched = dt.date(2022, 3, 1) + dt.timedelta(days=place * 190 + len(rows) * 3)
            popular = (5, 4, 2, 1)[place]
            rows.append(
                (len(rows), f"QL{code}{place + 1}{len(rows):02d}", category, series, model,
                 f"{BRAND}{series}{word} {model}", False, None, price, int(warranty), launched,
                 summer * popular, winter * popular, other * popular, int(faults), None)
            )  # fmt: skip
    for line in CONSUMABLES.split():
        name, fits, price_text, days = line.split("|")
        rows.append(
            (len(rows), f"QLHC{len(rows):03d}", "配件耗材", None, f"HC-{len(rows):03d}",
             f"{BRAND}{name}", True, fits, int(price_text), 0, dt.date(2023, 1, 10),
             3, 3, 3, 0, int(days))
        )  # fmt: skip
    return rows
