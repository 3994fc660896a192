"""The voice of the customer: surveys in tiers, interviews, reviews, posts. Local text times."""

from customer360.demo.world.engine import Engine
from customer360.demo.world.service import COMPOSE
from customer360.demo.world.spelling import Rates, note_records, spell
from customer360.demo.world.vocabulary.phrases import INTERVIEW
from customer360.demo.world.vocabulary.products import BRAND

QUESTIONS = {
    "basic": '["您对本次购买是否满意（1-5）","您会推荐给朋友吗（0-10）"]',
    "deep": '["购买渠道","最看重的因素","对产品的建议","您会推荐给朋友吗（0-10）","家中人数"]',
    "vip": '["对专属管家的评价","下次计划购买的品类","愿意受访吗","您会推荐给朋友吗（0-10）"]',
}


def further_talk() -> str:
    """SQL of the questions and answers of an interview after the first."""
    parts = []
    for number, (question, good, bad) in enumerate(INTERVIEW):
        answers = (
            f"case interview.mood when 'good' then {good.split('|')} else {bad.split('|')} end"
        )
        parts.append(f"'\n问：{question}\n答：' || pick({answers}, u(rec, 'talk{number}')) || '。'")
    return " || ".join(parts)


def make_voice(engine: Engine) -> None:
    """All tables of the schema ``voice``."""
    engine.progress("voice")
    engine.table(
        "latent.surveys",
        "number int, tier varchar, day int, questions varchar",
        [
            (i, tier, 20 + i * 45 % 840, QUESTIONS[tier])
            for i, tier in enumerate(["basic", "basic", "deep", "basic", "vip", "deep"] * 3)
        ],
    )
    engine.run(
        """
        create table world.voice.surveys as
        select 'SV' || digits(number + 1, 3) as survey_id,
               case tier when 'basic' then '购后满意度' when 'deep' then '用户深度调研'
                    else 'VIP客户回访' end || '·' || strftime(on_day(day), '%Y年%-m月') as name,
               tier, pick(['sms', 'wechat', 'email'], u(number, 'schannel')) as channel,
               questions::json as questions, on_day(day) as opened_on,
               day as _from_day, null::int as _to_day
        from latent.surveys order by day, number;

        create table latent.talked_of as
        -- what people speak of when they are asked: what they bought first
        select pid, min(buys.day) as bought_day, arg_min(product, buys.day * 1024 + buys.buy % 1024)
                   as product
        from latent.items join latent.buys as buys using (buy) where line = 1 group by 1;

        create table latent.survey_recs as
        select survey.number, survey.tier, person.pid, person.pid * 64 + survey.number as rec,
               survey.day + below(u2(person.pid, survey.number, 'sday')^1.5, 40) as day,
               person.base_satisfaction + coalesce(mood.mood, 0) / 1000.0 as feels
        from latent.surveys as survey
        cross join latent.people as person
        left join latent.leaving as leave using (pid)
        left join latent.moods as mood on mood.pid = person.pid and mood.month = survey.day // 30
        where person.join_day < survey.day
          and coalesce(leave.leave_day, 100000) > survey.day
          and u2(person.pid, survey.number, 'answers') < case survey.tier when 'basic' then .055
              when 'deep' then .022 else case when person.premium then .05 else 0 end end;
        """
    )
    spelled = spell(
        engine,
        "voice",
        "responses",
        "select rec, pid, day from latent.survey_recs",
        Rates(
            name={"polite": 0.2, "homophone": 0.05, "given_only": 0.05, "latin": 0.05},
            phone={"missing": 0.5, "dummy": 0.02, "slip": 0.015, "format": 0.03},
            email={"missing": 0.75, "dummy": 0.01, "slip": 0.01, "other": 0.2},
            birthday={},
        ),
    )
    member = """left join (select pid, max(member_no) as member_no from latent.member_recs
                where rec % 2 = 0 group by 1) as member on member.pid = {pid}"""
    engine.run(
        f"""
        create table latent.responses as
        select survey.*, row_number() over (order by day, u(rec, 'rorder')) + 40000 as response_id,
               case when bought_day < day then product else bits(rec, 'rproduct') % 60 end
                   as product,
               case when feels > .15 then 'good' else 'bad' end as mood,
               pick(['quality', 'service', 'price', 'delivery'], u(rec, 'saspect')) as aspect,
               greatest(1, least(5, round(3.6 + .8 * feels + .5 * z(rec, 'csat'))))::int as csat
        from latent.survey_recs as survey left join latent.talked_of using (pid)
        where day <= 869;

        create table world.voice.responses as
        select response_id, 'SV' || digits(number + 1, 3) as survey_id, tier,
               case when u(rec, 'rname') < .45 then full_name end as respondent_name,
               mobile as phone, email,
               case when u(rec, 'rmember') < .25 then member.member_no end as member_no,
               case when u(rec, 'ropen') < .2 and follower.pid is not null
                    then ids.openid_account end as openid,
               greatest(0, least(10, csat * 2 + below(u(rec, 'nps'), 3) - 1))::int as nps, csat,
               case tier
                   when 'basic' then '{{"satisfaction":' || csat || '}}'
                   when 'deep' then '{{"factor":"' || pick(['质量', '价格', '服务', '外观', '口碑'],
                        u(rec, 'factor')) || '","family":' || (1 + below(u(rec, 'fam'), 5))
                        || ',"channel":"' || pick(['门店', '小程序', '官网', '朋友推荐'],
                        u(rec, 'chan')) || '"}}'
                   else '{{"next":"' || pick(['空调', '洗碗机', '扫地机器人', '净水器', '暂无'],
                        u(rec, 'next')) || '","interview":' || (u(rec, 'iv') < .3) || '}}'
                   end::json as answers,
               case when u(rec, 'comments') < .5 then
                   {
            COMPOSE.format(
                key="rec", product="product.word", city="replace(spelled.city, '市', '')"
            )
        } end as comment,
               strftime(local_at(response.day, 32000 + below(u(rec, 'rsec'), 50000)),
                        '%Y-%m-%d %H:%M:%S') as submitted_at,
               response.day as _from_day, null::int as _to_day
        from latent.responses as response join {spelled} as spelled using (rec)
        join latent.product_words as product on product.idx = response.product
        join latent.texts as text on text.place = 'told' and text.aspect = response.aspect
            and text.mood = response.mood and text.kind = product.kind
        join latent.wechat_ids as ids on ids.pid = response.pid
        left join latent.followers as follower on follower.pid = response.pid
        {member.format(pid="response.pid")}
        order by submitted_at, response_id;

        create table latent.interview_recs as
        select rec, pid, tier, feels, csat, aspect, mood, product,
               day + 5 + below(u(rec, 'ivday'), 20) as day,
               row_number() over (order by day, u(rec, 'ivorder')) + 700 as interview_id
        from latent.responses where u(rec, 'interviewed') < case tier when 'vip' then .3
              when 'deep' then .1 else 0 end;
        create table world.voice.interviews as
        select interview_id, case when u(rec, 'ivmember') < .5 then member.member_no end as
            member_no,
               names.plain as full_name,
               case when u(rec, 'ivphone') < .6 then phone.mobile end as phone,
               pick(['周敏', '何嘉', '方晓', '陆遥'], u(rec, 'ivby')) as interviewer,
               home.city,
               json_array(case interview.aspect when 'quality' then '质量' when 'price' then '价格'
                    when 'service' then '服务' else '物流' end, '使用习惯', '购买意向') as topics,
               '问：最近使用感受怎么样？\n答：' ||
                   {
            COMPOSE.format(key="rec", product="product.word", city="replace(home.city, '市', '')")
        }
                   || {further_talk()} as transcript,
               case interview.mood when 'good' then '整体满意，愿意推荐，关注新品。'
                    else '有不满，集中在' || case interview.aspect when 'quality' then '质量'
                    when 'price' then '价格' when 'service' then '服务' else '物流' end
                    || '，需回访。' end as summary,
               strftime(local_at(interview.day, 36000 + below(u(rec, 'ivsec'), 25000)),
                        '%Y-%m-%d %H:%M') as held_at,
               interview.day as _from_day, null::int as _to_day
        from latent.interview_recs as interview
        join latent.names as names using (pid)
        join latent.product_words as product on product.idx = interview.product
        join latent.texts as text on text.place = 'told' and text.aspect = interview.aspect
            and text.mood = interview.mood and text.kind = product.kind
        join latent.people as person on person.pid = interview.pid
        join latent.homes as home on home.hid = person.hid and home.seq = 0
        join latent.phones as phone on phone.pid = interview.pid and phone.seq = 0
        {member.format(pid="interview.pid")}
        where interview.day <= 869 order by held_at, interview_id;

        create table latent.review_recs as
        with judged as (
            select orders.buy, orders.pid, orders.order_no, orders.account_id, item.line,
                   item.product, orders.deliver_day + 1 + below(u2(orders.buy, item.line,
                       'revday')^2,
                       40) as day,
                   orders.buy * 8 + item.line as rec, trouble.aspect as trouble,
                   person.base_satisfaction
            from latent.orders as orders join latent.items as item using (buy)
            join latent.people as person on person.pid = orders.pid
            left join (select buy, line, min(aspect) as aspect, min(day) as day
                       from latent.troubles group by all) as trouble
                on trouble.buy = orders.buy and trouble.line = item.line
                and trouble.day < orders.deliver_day + 20
            where not is_cancelled)
        select *, coalesce(nullif(trouble, 'praise'),
                       pick(['quality', 'quality', 'price', 'service', 'delivery'],
                            u(rec, 'revaspect'))) as aspect,
               case when trouble is not null and trouble <> 'praise' then 'bad'
                    when base_satisfaction + .8 * z(rec, 'revmood') < -1.1 then 'bad'
                    else 'good' end as mood
        from judged
        where u(rec, 'reviews') < case when trouble is not null then .45 else .17 end
          and day <= 869;
        create table latent.reviews as
        select *, case mood when 'bad' then 1 + below(u(rec, 'stars')^.8, 3)
                       else 5 - below(u(rec, 'stars')^2.5, 2) end as stars,
               row_number() over (order by day, u(rec, 'revorder')) + 310000 as review_id
        from latent.review_recs;
        create table world.voice.reviews as
        select review_id, pick(['官网', 'APP', '小程序', '天猫', '京东'], u(rec, 'revon'))
                   as platform,
               case when u(rec, 'revon') < .6 then order_no end as order_no, product.sku,
               case when u(rec, 'masked') < .5 then left(names.nick, 1) || '***'
                    || right(names.nick, 1) else names.nick end as nickname,
               case when u(rec, 'revon') < .6 then account_id end as account_id,
               stars::int as stars,
               {
            COMPOSE.format(
                key="rec", product="words.long_word", city="replace(home.city, '市', '')"
            )
        }
                   as body,
               strftime(local_at(review.day, 30000 + below(u(rec, 'revsec'), 55000)),
                        '%Y-%m-%d %H:%M:%S') as posted_at,
               case when review.mood = 'bad' and u(rec, 'replied') < .6 then
                   pick(['非常抱歉，请私信订单号',
                    '给您添麻烦了，客服会尽快联系您', '感谢反馈，我们会改进'], u(rec, 'reply')) end
                   as reply,
               review.day as _from_day, null::int as _to_day
        from latent.reviews as review
        join latent.products as product on product.idx = review.product
        join latent.product_words as words on words.idx = review.product
        join latent.texts as text on text.place = 'told' and text.aspect = review.aspect
            and text.mood = review.mood and text.kind = words.kind
        join latent.names as names on names.pid = review.pid
        join latent.people as person on person.pid = review.pid
        join latent.homes as home on home.hid = person.hid and home.seq = 0
        order by posted_at, review_id;

        create table latent.post_recs as
        select pid * 16 + k as rec, pid, greatest(0, join_day) + below(u2(pid, k, 'pday'), 860)
            as day
        from latent.people left join latent.leaving as leave using (pid),
             range(3) as numbers(k)
        where u2(pid, k, 'posts') < .035
          and greatest(0, join_day) + below(u2(pid, k, 'pday'), 860)
              <= least(869, coalesce(leave.leave_day, 100000));
        create table latent.posts as
        select post.*, pick(['quality', 'service', 'price', 'delivery'], u(rec, 'paspect'))
                   as aspect,
               case when base_satisfaction + coalesce(mood.mood, 0) / 1000.0
                         + .5 * z(rec, 'pmood') > 0 then 'good' else 'bad' end as mood,
               case when bought_day < post.day then product else bits(rec, 'pproduct') % 60 end
                   as product,
               row_number() over (order by post.day, u(rec, 'porder')) + 5200000 as post_id
        from latent.post_recs as post join latent.people as person using (pid)
        left join latent.talked_of on talked_of.pid = post.pid
        left join latent.moods as mood on mood.pid = post.pid and mood.month = post.day // 30;
        create table world.voice.posts as
        select post_id, pick(['小红书', '微博', '抖音', '知乎'], u(post.pid, 'platform')) as
            platform,
               names.nick as author,
               case when u(post.pid, 'handle') < .3 then names.tight
                        || digits(bits(post.pid, 'h2') % 1000, 3)
                    else 'user' || digits(bits(post.pid, 'h3') % 1000000000, 9) end
                   as author_handle,
               replace(home.city, '市', '') as city,
               pick(case post.mood when 'bad' then ['#{
            BRAND
        }# ', '', '', '避雷！', '吐槽：', '求支招：']
                    else ['#{BRAND}# ', '', '', '分享一下：', '好物推荐 ', '真实体验：'] end,
                    u(rec, 'phead')) ||
                   {
            COMPOSE.format(
                key="rec",
                product=f"'{BRAND}' || product.word",
                city="replace(home.city, '市', '')",
            )
        } as body,
               below(u(rec, 'likes')^4, 800) as likes, below(u(rec, 'cmts')^4, 90) as comments,
               strftime(local_at(post.day, 25000 + below(u(rec, 'psec'), 60000)),
                        '%Y-%m-%d %H:%M:%S') as posted_at,
               post.day as _from_day, null::int as _to_day
        from latent.posts as post
        join latent.product_words as product on product.idx = post.product
        join latent.texts as text on text.place = 'told' and text.aspect = post.aspect
            and text.mood = post.mood and text.kind = product.kind
        join latent.names as names on names.pid = post.pid
        join latent.people as person on person.pid = post.pid
        join latent.homes as home on home.hid = person.hid and home.seq = 0
        order by posted_at, post_id;

        insert into truths.truth.texts
        select * from (
            select 'voice', 'responses', response_id::varchar, aspect, mood,
                   (1000 * feels)::int from latent.responses
            union all
            select 'voice', 'reviews', review_id::varchar, aspect, mood,
                   case mood when 'bad' then -800 else 800 end from latent.reviews
            union all
            select 'voice', 'posts', post_id::varchar, aspect, mood,
                   case mood when 'bad' then -800 else 800 end from latent.posts)
        order by 2, 3;
        """
    )
    for table, source in (
        ("responses", "select response_id as key, pid from latent.responses"),
        ("interviews", "select interview_id as key, pid from latent.interview_recs where day<=869"),
        ("reviews", "select review_id as key, pid from latent.reviews"),
        ("posts", "select post_id as key, pid from latent.posts"),
    ):
        note_records(engine, "voice", table, source)
