{#-
  One spelling for each kind of value (phones, e-mails, names, days, money), as SQL over columns.
  The person-matching engine has the same rules for single values in
  `customer360.identity.normalise`; a test holds the two together.
-#}

{#- A pattern as a literal of the engine: Spark would take its backslashes away. -#}
{% macro pattern(regex) -%}
    {{ return(adapter.dispatch('pattern')(regex)) }}
{%- endmacro %}

{% macro default__pattern(regex) -%} '{{ regex }}' {%- endmacro %}

{% macro spark__pattern(regex) -%} r'{{ regex }}' {%- endmacro %}

{#- Whether a pattern is found in the value. -#}
{% macro matches(value, regex) -%}
    {{ return(adapter.dispatch('matches')(value, regex)) }}
{%- endmacro %}

{% macro default__matches(value, regex) -%} regexp_matches({{ value }}, '{{ regex }}') {%- endmacro %}

{% macro spark__matches(value, regex) -%} regexp_like({{ value }}, r'{{ regex }}') {%- endmacro %}

{#- Whether the whole value is of a pattern. -#}
{% macro is_wholly(value, regex) -%}
    {{ return(adapter.dispatch('is_wholly')(value, regex)) }}
{%- endmacro %}

{% macro default__is_wholly(value, regex) -%} regexp_full_match({{ value }}, '{{ regex }}') {%- endmacro %}

{% macro spark__is_wholly(value, regex) -%} regexp_like({{ value }}, r'^({{ regex }})$') {%- endmacro %}

{#- The value without a pattern, wherever it stands. -#}
{% macro without(value, regex) -%}
    {{ return(adapter.dispatch('without')(value, regex)) }}
{%- endmacro %}

{% macro default__without(value, regex) -%} regexp_replace({{ value }}, '{{ regex }}', '', 'g') {%- endmacro %}

{% macro spark__without(value, regex) -%} regexp_replace({{ value }}, r'{{ regex }}', '') {%- endmacro %}

{#- Whether the value begins so. -#}
{% macro begins(value, start) -%}
    {{ return(adapter.dispatch('begins')(value, start)) }}
{%- endmacro %}

{% macro default__begins(value, start) -%} starts_with({{ value }}, {{ start }}) {%- endmacro %}

{% macro spark__begins(value, start) -%} startswith({{ value }}, {{ start }}) {%- endmacro %}

{#- Full-width letters, digits, signs and the ideographic space in their plain forms. -#}
{% macro half_width(value) -%}
    {{ return(adapter.dispatch('half_width')(value)) }}
{%- endmacro %}

{% macro default__half_width(value) -%}
    translate(
        {{ value }},
        '！＂＃＄％＆＇（）＊＋，－．／０１２３４５６７８９：；＜＝＞？＠ＡＢＣＤＥＦＧＨＩＪＫＬＭＮＯＰＱＲＳＴＵＶＷＸＹＺ［＼］＾＿｀ａｂｃｄｅｆｇｈｉｊｋｌｍｎｏｐｑｒｓｔｕｖｗｘｙｚ｛｜｝～　',
        {% raw %}'!"#$%&''()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\]^_`abcdefghijklmnopqrstuvwxyz{|}~ '{% endraw %}
    )
{%- endmacro %}

{% macro spark__half_width(value) -%}
    translate(
        {{ value }},
        '！＂＃＄％＆＇（）＊＋，－．／０１２３４５６７８９：；＜＝＞？＠ＡＢＣＤＥＦＧＨＩＪＫＬＭＮＯＰＱＲＳＴＵＶＷＸＹＺ［＼］＾＿｀ａｂｃｄｅｆｇｈｉｊｋｌｍｎｏｐｑｒｓｔｕｖｗｘｙｚ｛｜｝～　',
        {% raw %}'!"#$%&\'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcdefghijklmnopqrstuvwxyz{|}~ '{% endraw %}
    )
{%- endmacro %}

{#- Trimmed and in plain forms; nothing left is null. -#}
{% macro plain_text(value) -%}
    nullif(trim({{ half_width(value) }}), '')
{%- endmacro %}

{#-
  A phone number as E.164, or null where it is no number that could be called: mainland mobiles,
  landlines with their area code, 400 and 800 numbers, and foreign ones that say their country.
-#}
{% macro phone_e164(value) -%}
    {{ e164_of_digits(without("regexp_replace(" ~ half_width(value) ~ ", '(转|ext|x).*$', '')", '[^0-9+]')) }}
{%- endmacro %}

{% macro e164_of_digits(digits) -%}
    case
        when {{ is_wholly(digits, '(\\+?86|0086)?1[3-9][0-9]{9}') }}
            then '+86' || right({{ digits }}, 11)
        when
            {{ is_wholly(digits, '((\\+?86|0086)0?|0)((10|2[0-9])[0-9]{8}|[3-9][0-9]{2}[0-9]{7,8})') }}
            then '+86' || regexp_extract(
                {{ digits }},
                {{ pattern('^(\\+?86|0086)?0?((10|2[0-9])[0-9]{8}|[3-9][0-9]{2}[0-9]{7,8})$') }},
                2
            )
        when {{ is_wholly(digits, '(\\+?86|0086)?[48]00[0-9]{7}') }}
            then '+86' || right({{ digits }}, 10)
        when {{ is_wholly(digits, '\\+([1-79][0-9]|8[0-57-9])[0-9]{6,12}') }} then {{ digits }}
    end
{%- endmacro %}

{#- mobile, landline, service (400, 800) or foreign: the kind of a number in E.164. -#}
{% macro phone_kind(e164) -%}
    case
        when {{ e164 }} is null then null
        when not {{ begins(e164, "'+86'") }} then 'foreign'
        when {{ is_wholly(e164, '\\+861[3-9][0-9]{9}') }} then 'mobile'
        when {{ is_wholly(e164, '\\+86[48]00[0-9]{7}') }} then 'service'
        else 'landline'
    end
{%- endmacro %}

{#- The number, or null where it was typed to get past a form (13800138000, 18888888888). -#}
{% macro real_phone(value) -%}
    {{ not_dummy_phone(phone_e164(value)) }}
{%- endmacro %}

{% macro not_dummy_phone(e164) -%}
    case
        when
            right({{ e164 }}, 8) in (
                '00000000', '11111111', '22222222', '33333333', '44444444', '55555555',
                '66666666', '77777777', '88888888', '99999999', '00138000', '12345678'
            )
            then null
        else {{ e164 }}
    end
{%- endmacro %}

{#- An e-mail address in lower case, or null where it is none or stands for none (test@, no@). -#}
{% macro email_address(value) -%}
    nullif(
        regexp_extract(
            lower(replace({{ half_width(value) }}, ' ', '')),
            {{ pattern('^(mailto:)?([^@,;]+@[a-z0-9.-]+\\.[a-z]{2,})$') }},
            2
        ),
        ''
    )
{%- endmacro %}

{% macro real_email(value) -%}
    case
        when
            split_part({{ email_address(value) }}, '@', 1) in (
                'test', 'tester', 'no', 'none', 'noreply', 'no-reply', 'null', 'abc', 'a', 'aa', 'aaa',
                '123', '1234', '12345', '123456', 'xxx', 'noemail', 'example', 'user', 'unknown'
            )
            or split_part({{ email_address(value) }}, '@', 2) in ('example.com', 'test.com', 'abc.com')
            then null
        else {{ email_address(value) }}
    end
{%- endmacro %}

{#- A person's name without its title; a Chinese one without spaces. -#}
{% macro person_name(value) -%}
    nullif(
        regexp_replace(
            case
                when {{ matches(value, '[\\x{3400}-\\x{9fff}]') }}
                    then {{ without(half_width(value), '\\s') }}
                else trim({{ half_width(value) }})
            end,
            '(先生|女士|小姐|太太|老师|经理|总监|主任|医生|师傅|同学)$',
            ''
        ),
        ''
    )
{%- endmacro %}

{#- The family name of a Chinese name; compound ones are known. Null for other names. -#}
{% macro family_name(name) -%}
    case
        when not {{ matches(name, '^[\\x{3400}-\\x{9fff}]+$') }} then null
        when left({{ name }}, 4) in ('爱新觉罗') then left({{ name }}, 4)
        when left({{ name }}, 2) in (
        '万俟', '上官', '东方', '东郭', '东门', '乐正', '亓官', '令狐', '仲孙', '公冶', '公孙', '公户',
        '公玉', '公羊', '公良', '公西', '南宫', '南荣', '南门', '叶赫', '司寇', '司徒', '司空', '司马',
        '呼延', '壤驷', '夏侯', '太叔', '太史', '夹谷', '子车', '宇文', '完颜', '宗政', '宰父', '尉迟',
        '左丘', '巫马', '微生', '慕容', '拓跋', '梁丘', '欧阳', '段干', '漆雕', '澹台', '濮阳', '独孤',
        '申屠', '百里', '皇甫', '端木', '第五', '纳兰', '羊舌', '耶律', '西门', '诸葛', '谷梁', '贺兰',
        '赫连', '轩辕', '钟离', '长孙', '闻人', '闾丘', '颛孙', '鲜于'
        ) then left({{ name }}, 2)
        else left({{ name }}, 1)
    end
{%- endmacro %}

{#- What follows the family name; null where nothing does (王先生). -#}
{% macro given_name(name) -%}
    nullif(substr({{ name }}, length({{ family_name(name) }}) + 1), '')
{%- endmacro %}

{#- A day as people type it: 2025-02-14, 2025.2.14, 2025/2/14, 20250214, 2025年2月14日. -#}
{% macro typed_day(value) -%}
    try_cast(
        regexp_replace(
            {{ half_width(value) }},
            {{ pattern(
                '^\\s*([0-9]{4})[^0-9]*([0-9]{1,2})[^0-9]+([0-9]{1,2}).*$'
                ~ '|^\\s*([0-9]{4})([0-9]{2})([0-9]{2})\\s*$'
            ) }},
            {{ groups([1, 4, '-', 2, 5, '-', 3, 6]) }}
        ) as date
    )
{%- endmacro %}

{#- What stands for the groups of a pattern in a replacement. -#}
{% macro groups(parts) -%}
    {{ return(adapter.dispatch('groups')(parts)) }}
{%- endmacro %}

{% macro default__groups(parts) -%}
    '{% for part in parts %}{{ '\\' if part is number }}{{ part }}{% endfor %}'
{%- endmacro %}

{% macro spark__groups(parts) -%}
    '{% for part in parts %}{{ '$' if part is number }}{{ part }}{% endfor %}'
{%- endmacro %}

{#- Money in minor units, from an amount in the currency's unit. -#}
{% macro minor_units(amount) -%}
    cast(round({{ amount }} * 100) as bigint)
{%- endmacro %}

{#- How the person-matching names a record: source, table and key. -#}
{% macro record_id(table, key) -%}
    '{{ table }}:' || cast({{ key }} as varchar)
{%- endmacro %}
