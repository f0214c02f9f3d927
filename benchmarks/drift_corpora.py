"""Questions made by rules, of different nature, for `benchmarks/drift.py`: every corpus gives texts and their intents.

None is meant to be pretty: each has a trait that real traffic has and that a rule fitted on well-formed English misses.
"""

from __future__ import annotations

import numpy as np

PER_INTENT = 150


def _made(intents, sentence, seed):
    """`sentence(rng, intent)` for every intent, `PER_INTENT` times."""
    rng = np.random.default_rng(seed)
    rows = [(sentence(rng, intent), intent) for intent in intents for _ in range(PER_INTENT)]
    return np.array([text for text, _ in rows], object), np.array([" ".join(intent) for _, intent in rows])


def _words(line):
    return line.split()


def _pairs(verbs, things, every=2):
    return [(verb, thing) for k, verb in enumerate(verbs) for thing in things[k % every :: every]]


def _framed(frames, extra):
    def sentence(rng, intent):
        verb, thing = intent
        return str(rng.choice(frames)).format(v=verb, t=thing, x=" ".join(rng.choice(extra, rng.integers(1, 3))))

    return sentence


def _sentences(verbs, things, frames, extra, seed, every=2):
    """Frames filled with a verb and a thing, an intent each pair, and one or two extra words."""
    return _made(_pairs(_words(verbs), _words(things), every), _framed(frames, _words(extra)), seed)


def frames():
    """Seven frames of English sentences; any of them may be missing in the reference for some intent."""
    return _sentences(
        "open close find lose change cancel repair send return order check block move count print sign",
        "ticket engine garden invoice passport violin battery contract recipe curtain bicycle lawyer vaccine roof",
        ["how do I {v} my {t}", "please {v} the {t} for me", "{t} {v} not possible", "can you {v} a {t} today",
         "I want to {v} this {t} {x}", "why did you {v} my {t} {x}", "help me {v} the {t} {x}"],
        "again soon quickly before friday without fee online now abroad at home by phone this week twice", 99, every=3,
    )  # fmt: skip


def slots():
    """Two fixed sentences an intent, with a number, a name, a place or a day in them: near-duplicates all."""
    verbs = _words("track refund exchange cancel insure gift-wrap reschedule pick-up pay-for complain-about")
    things = _words("parcel subscription flight mattress voucher concert-ticket phone rental-car apartment course")
    starts = [
        "Hello, {v} {t}",
        "I need to {v} my {t}",
        "{t}: {v}",
        "Is it possible to {v} the {t}",
        "who can {v} a {t}",
    ]
    ends = ["number {n}", "of {n} for {who}", "from {place}", "on {day} in {place}", "of {who}, {day}", "{n} {place}"]
    who, day = _words("Anna Ben Chloe David Emma Farid Grace Hugo Ivan Jonas"), _words("monday tuesday friday sunday")
    places = _words("Paris Berlin Madrid Oslo Lisbon Vienna Prague Dublin Athens Warsaw Zurich Milan")

    def sentence(rng, intent):
        own = np.random.default_rng(sum(map(ord, "".join(intent))))
        text = f"{own.choice(starts)} {rng.choice(own.permutation(ends)[:2])}"
        chosen = {"who": rng.choice(who), "day": rng.choice(day), "place": rng.choice(places)}
        verb, thing = (word.replace("-", " ") for word in intent)
        return text.format(v=verb, t=thing, n=rng.integers(1_000, 999_999), **chosen)

    return _made(_pairs(verbs, things, 2), sentence, 7)


def keywords():
    """Two to four words as typed into a search box, in any order."""
    shops = {
        "boots": "leather rubber hiking", "lamp": "desk floor solar", "tent": "family pop-up winter", "knife": "bread pocket chef",
        "bike": "kids electric folding", "sofa": "corner sleeper garden", "drill": "cordless hammer bench", "camera": "action trail instant",
        "printer": "label laser photo", "heater": "patio oil fan", "piano": "digital grand toy", "kettle": "travel gooseneck glass",
        "helmet": "ski horse welding", "carpet": "wool outdoor stair", "router": "wifi wood mesh", "watch": "diver pilot nurse",
    }  # fmt: skip
    intents = [(kind, thing) for thing, kinds in shops.items() for kind in _words(kinds)]
    more = _words("red black cheap used xl small mens kids best review price 2024 waterproof near me sale spare part")

    def sentence(rng, intent):
        words = [*intent, *rng.choice(more, rng.integers(0, 3), replace=False)]
        return " ".join(rng.permutation(words) if rng.random() < 0.3 else words)

    return _made(intents, sentence, 8)


def german():
    return _sentences(
        "öffnen schließen finden ändern kündigen reparieren verschicken zurückgeben bestellen sperren drucken",
        "Fahrkarte Rechnung Reisepass Geige Batterie Vertrag Vorhang Fahrrad Impfung Dach Konto Wohnung",
        ["Wie kann ich meine {t} {v}?", "Bitte {t} {v}, {x}", "{t} lässt sich nicht {v}", "{t} {v} {x}",
         "Ich möchte die {t} {x} {v}", "warum haben Sie {t} {x} {v} wollen", "können Sie mir helfen, {t} zu {v}"],
        "heute morgen wieder schnell vorher online jetzt im Ausland zuhause per Telefon zweimal", 9,
    )  # fmt: skip


def spanish():
    return _sentences(
        "abrir cerrar encontrar cambiar cancelar reparar enviar devolver pedir bloquear imprimir firmar",
        "billete factura pasaporte violín batería contrato receta cortina bicicleta vacuna tejado cuenta",
        ["¿cómo puedo {v} mi {t}?", "por favor {v} la {t} {x}", "no se puede {v} {t}", "quiero {v} este {t} {x}",
         "ayuda para {v} {t}", "¿por qué no me dejan {v} el {t} {x}?", "{t} {v} {x}"],
        "hoy mañana otra vez rápido antes en línea ahora desde casa por teléfono dos veces", 10,
    )  # fmt: skip


def japanese():
    return _sentences(
        "開き 閉じ 探し 変更し 取り消し 修理し 送り 返品し 注文し 止め 印刷し 確認し",
        "切符 請求書 旅券 楽器 電池 契約 料理 カーテン 自転車 注射 屋根 口座",
        ["{t}を{v}たいです", "{t}を{v}ますか", "{x}{t}を{v}てください", "どうやって{t}を{v}ますか", "{t}が{v}ません、{x}",
         "私の{t}、{x}{v}たいのですが"],
        "今日 明日 もう一度 早く 前に 電話で 家で 海外で", 11,
    )  # fmt: skip


def chinese():
    return _sentences(
        "打开 关闭 查找 更改 取消 修理 寄出 退回 订购 冻结 打印 确认",
        "车票 发票 护照 小提琴 电池 合同 菜谱 窗帘 自行车 疫苗 屋顶 账户",
        ["怎么{v}我的{t}？", "请{x}{v}{t}", "{t}无法{v}", "我想{x}{v}这个{t}", "可以帮我{v}{t}吗", "为什么不能{x}{v}{t}", "{t} {v} {x}"],
        "今天 明天 再次 马上 提前 网上 现在 在家 在国外 用电话 两次", 13,
    )  # fmt: skip


CORPORA = {made.__name__: made for made in (frames, slots, keywords, german, spanish, japanese, chinese)}


def repeated(text, intent, seed=12, sentences=12):
    """The same intents asked in 12 sentences each, some of them far more often than others, word for word."""
    rng = np.random.default_rng(seed)
    chosen = []
    for name in np.unique(intent):
        own = rng.permutation(np.flatnonzero(intent == name))[:sentences]
        often = 1 / np.arange(1, len(own) + 1)
        chosen.append(rng.choice(own, PER_INTENT, p=often / often.sum()))
    chosen = np.concatenate(chosen)
    return text[chosen], intent[chosen]
