"""Sentiment: learned where there are ratings, sensible where there are none, calm on odd input."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from models.common.card import render
from models.common.errors import ModelDataError
from models.sentiment.card import labelled_card, unlabelled_card
from models.sentiment.evaluate import cross_validate
from models.sentiment.features import Vocabulary, is_chinese, ngrams
from models.sentiment.index import (
    alarms_of,
    compare_sides,
    drop_alarms,
    sentiment_index,
    trend,
)
from models.sentiment.predict import aspect_sentiment, predict
from models.sentiment.train import GeneralModel, fit_corpus, train, without_overlap

GOOD = [
    "很满意",
    "质量很好",
    "服务热情",
    "发货很快",
    "非常喜欢",
    "值得推荐",
    "干净舒适",
    "物超所值",
]
BAD = ["很失望", "质量太差", "服务冷淡", "发货很慢", "非常后悔", "不推荐", "又脏又吵", "太贵了不值"]
NEUTRAL = ["我在周末", "房间在三楼", "第二次来", "和家人一起", "买了两件", "颜色是蓝色"]


def reviews(rows: int, seed: int, noise: float = 0.1) -> tuple[list[str], np.ndarray]:
    random = np.random.default_rng(seed)
    label = (random.random(rows) < 0.6).astype(float)
    texts = []
    for positive in label:
        right, wrong = (GOOD, BAD) if positive else (BAD, GOOD)
        words = [*random.choice(NEUTRAL, 2), *random.choice(right, 2)]
        if random.random() < noise:
            words.append(str(random.choice(wrong)))
        texts.append("，".join(random.permutation(words)))
    return texts, label


@pytest.fixture(scope="module")
def general() -> GeneralModel:
    texts, label = reviews(400, seed=1)
    good = [text for text, one in zip(texts, label, strict=True) if one]
    return GeneralModel(fit_corpus(good, [t for t in texts if t not in set(good)]))


def test_without_labels_both_languages_and_emoji_point_the_right_way(
    general: GeneralModel,
) -> None:
    texts = [
        "质量很好，很满意",
        "质量太差，很失望",
        "I love it, great!",
        "Terrible. I hate it",
        "👍👍",
        "😡",
    ]
    sentiment = predict(general, texts)
    assert (np.sign(sentiment) == [1, -1, 1, -1, 1, -1]).all()
    assert (np.abs(sentiment) <= 1).all()


def test_empty_and_unknown_texts_are_neutral(general: GeneralModel) -> None:
    assert predict(general, ["", "   ", "龘靐", "12345"]) == pytest.approx([0, 0, 0, 0], abs=0.1)
    assert len(predict(general, [])) == 0


def test_learned_sentiment_is_out_of_fold_and_ranks(general: GeneralModel) -> None:
    texts, label = reviews(300, seed=2)
    evaluation = cross_validate(texts, label, folds=3, seed=1, general=general)
    assert roc_auc_score(label, evaluation.sentiment) > 0.95
    shuffled = np.random.default_rng(0).permutation(label)
    chance = cross_validate(texts, shuffled, folds=3, seed=1, general=None)
    assert abs(roc_auc_score(shuffled, chance.sentiment) - 0.5) < 0.12


def test_few_rated_texts_lean_on_the_general_model(general: GeneralModel) -> None:
    texts, label = reviews(40, seed=3, noise=0.0)
    model = train(texts, label, seed=1, general=general)
    assert model.weights[1] > 0
    later, truth = reviews(200, seed=4)
    assert roc_auc_score(truth, predict(model, later)) > 0.9


def test_a_company_word_is_learned() -> None:
    texts = [f"这个产品{word}了{n % 7}天" for n in range(60) for word in ("拉胯", "绝绝子")]
    label = np.tile([0.0, 1.0], 60)
    model = train(texts, label, seed=1, general=None)
    bad, good = predict(model, ["真是拉胯", "绝绝子"])
    assert bad < 0 < good


@pytest.mark.parametrize("label", [np.ones(50), np.r_[np.ones(4), np.zeros(46)]])
def test_ratings_that_teach_nothing_are_refused(label: np.ndarray) -> None:
    with pytest.raises(ModelDataError, match="rarer kind"):
        train(reviews(50, 1)[0], label, seed=1, general=None)


def test_texts_without_a_common_word_are_refused() -> None:
    texts = [chr(0x4E00 + row) for row in range(40)]
    with pytest.raises(ModelDataError, match="no words in common"):
        train(texts, np.tile([0.0, 1.0], 20), seed=1, general=None)


def test_aspects_are_scored_from_their_own_clauses(general: GeneralModel) -> None:
    frame = aspect_sentiment(general, ["发货很快，质量太差", "我在周末", "服务热情"])
    assert frame.loc[0, "delivery"] > 0 > frame.loc[0, "quality"]
    assert frame.loc[1].isna().all()
    assert frame.loc[2, "service"] > 0


def test_corpus_lines_that_hold_the_companys_texts_are_taken_out() -> None:
    ours = ["前台的服务员态度非常好，下次还会再来入住的"]
    corpus = ["房间不错。前台的服务员态度非常好，下次还会来", "这本书写得真好，孩子很喜欢", "好"]
    assert without_overlap(corpus, ours) == corpus[1:]


def test_the_vocabulary_gives_unit_rows_and_zero_rows() -> None:
    texts = ["good phone", "good phone case", "bad phone", ""]
    vocabulary = Vocabulary.fit(texts)
    lengths = np.sqrt(vocabulary.matrix([*texts, "nothing known"]).power(2).sum(axis=1))
    assert np.asarray(lengths).ravel() == pytest.approx([1, 1, 1, 0, 0])


def test_ngrams_do_not_cross_texts_and_width_does_not_matter() -> None:
    rows, hashes, _ = ngrams(["好吃", "好", "吃", "ＡＢＣ", "abc"])
    found = [set(hashes[rows == row]) for row in range(5)]
    assert len(found[0]) == 3
    assert found[1] | found[2] < found[0]
    assert found[3] == found[4]


def test_language_is_told_by_letters() -> None:
    assert is_chinese("iPhone很好用")
    assert not is_chinese("Great phone 好")
    assert not is_chinese("123 👍")


def test_cards_say_what_was_checked(general: GeneralModel) -> None:
    texts, label = reviews(120, seed=5)
    evaluation = cross_validate(texts, label, folds=2, seed=1, general=general)
    card = render(labelled_card(label, evaluation, 2, 1, 2000))
    assert "without labels" in card.markdown
    assert "majority" in card.markdown
    sentiment = predict(general, texts)
    card = render(unlabelled_card(sentiment, aspect_sentiment(general, texts), 0))
    assert "Nothing here was checked" in card.markdown


def history(customer: str, values: list[float], days_ago: list[int]) -> pd.DataFrame:
    at = pd.Timestamp("2026-05-31") - pd.to_timedelta(days_ago, unit="D")
    return pd.DataFrame({"customer_id": customer, "at": at, "sentiment": values})


AS_OF = pd.Timestamp("2026-05-31")


def test_the_index_forgets_and_does_not_trust_a_single_outburst() -> None:
    frame = pd.concat(
        [
            history("old joy, new anger", [0.9, -0.9], [360, 1]),
            history("old anger, new joy", [-0.9, 0.9], [360, 1]),
            history("one outburst", [-1.0], [0]),
            history("always angry", [-1.0] * 6, [0, 1, 2, 3, 4, 5]),
        ]
    )
    index = sentiment_index(frame, AS_OF).set_index("customer_id")["sentiment_index"]
    assert index["old joy, new anger"] < 0 < index["old anger, new joy"]
    assert index["always angry"] < index["one outburst"] == pytest.approx(-0.5)


def test_the_index_halves_its_weight_after_the_half_life() -> None:
    index = sentiment_index(history("a", [1.0], [60]), AS_OF, half_life_days=60)
    assert index.loc[0, "weight"] == pytest.approx(0.5)


def test_the_future_is_not_known() -> None:
    frame = history("a", [0.5, -1.0], [10, -3])
    assert sentiment_index(frame, AS_OF).loc[0, "texts"] == 1


def test_a_drop_alarms_and_noise_bad_manners_or_one_text_do_not() -> None:
    frame = pd.concat(
        [
            history("drops", [0.7, 0.8, 0.6, -0.7, -0.6], [200, 150, 90, 8, 2]),
            history("always low", [-0.7, -0.8, -0.6, -0.7, -0.8], [200, 150, 90, 8, 2]),
            history("one bad text", [0.7, 0.8, 0.6, -0.9], [200, 150, 90, 2]),
            history("less happy", [0.9, 0.9, 0.9, 0.4, 0.3], [200, 150, 90, 8, 2]),
            history("new", [-0.9, -0.9], [8, 2]),
        ]
    )
    alarms = drop_alarms(frame, AS_OF)
    assert list(alarms["customer_id"]) == ["drops"]
    assert alarms.loc[0, "drop"] == pytest.approx(1.35)


def test_no_texts_no_alarms_and_wrong_columns_are_named() -> None:
    assert drop_alarms(history("a", [], []), AS_OF).empty
    assert sentiment_index(history("a", [], []), AS_OF).empty
    with pytest.raises(ModelDataError, match="sentiment"):
        sentiment_index(pd.DataFrame({"customer_id": [], "at": []}), AS_OF)


def test_the_trend_is_told_only_where_texts_lie_on_both_sides_and_differ_clearly() -> None:
    as_of = pd.Timestamp("2026-06-30")
    rows = [
        *[("worse", 10, -0.9)] * 3, *[("worse", 90, 0.9)] * 3,
        *[("better", 10, 0.9)] * 3, *[("better", 90, -0.9)] * 3,
        *[("steady", 10, 0.3)] * 3, *[("steady", 90, 0.4)] * 3,
        *[("silent", 90, -0.9)] * 3,
        *[("mixed", 10, one) for one in (-1.0, 1.0)], *[("mixed", 90, one) for one in (-1.0, 1.0)],
    ]  # fmt: skip
    frame = pd.DataFrame(rows, columns=["customer_id", "age", "sentiment"])
    frame["at"] = as_of - pd.to_timedelta(frame.pop("age"), unit="D")
    sides = compare_sides(frame, as_of, 60)
    found = trend(sides)
    assert found[["worse", "better", "steady", "mixed"]].to_dict() == {
        "worse": "worse", "better": "better", "steady": "steady", "mixed": "steady",
    }  # fmt: skip
    assert found["silent"] is None
    assert alarms_of(sides, 0.4, 1)["customer_id"].tolist() == ["worse"]
