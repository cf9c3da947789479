"""Words of questions: stop words, synonyms and stems."""

from __future__ import annotations

import re

# Stop words, in the languages of the manual.
_SAY_NOTHING = """
    a about all also am an and any are as at be because berlin best between but by can could did do
    does doing done for from get give go got had has have he hello help hey hi how i if in into is
    it its just know let like make me my need not of on one only or out own please put say see she
    should show so some something take tell than that the them then there these they thing things
    this those to too use used much many now uses using want was way we well what when where which
    who why will with without work working works would yes you your thanks thank morning
    а без берлин бы был быть в вам вас во вот вы где да для до его ее если есть еще же за здесь и
    из или им их к как какая какие какой когда кто ли лучше меня мне можно мой моя мы на надо нам
    нас не нет него нее нужно ну о об он она они от очень по подскажи пожалуйста при про просто с
    сам свое свой свою сделать скажи скажите со так такое там то тоже только ты у уже хочу чего чем
    через что чтобы это этот эту я привет здравствуйте здравствуй дела спасибо
"""
STOP_WORDS = frozenset(_SAY_NOTHING.split())

# Weak words: they name an action but not its object.
_SAY_LITTLE = """
    again ask begin big change check choose come completely create different exceeded find first
    fix give keep kind list long made make mean more need new newer old open other possible program
    programs project read recommend run say see send set settings share start stop support supports
    switch talk try turn type version way whole write
    варианты второй выбрать другой задать запустить изменить какой-то начать написать новый
    общаться остановить открыть отправить первый передать поддерживается поменять помощь получить
    программа работает работать русский сменить список старый узнать указать
"""

# Synonyms: what people write, and the manual's word for it.
_SAME = {
    "endpoint": "service",
    "provider": "service",
    "backend": "service",
    "chatbot": "service",
    "signin": "login",
    "sign": "login",
    "log": "login",
    "auth": "login",
    "authenticate": "login",
    "authentication": "login",
    "credentials": "password",
    "creds": "password",
    "fail": "errors",
    "fails": "errors",
    "failed": "errors",
    "failure": "errors",
    "exception": "errors",
    "exceptions": "errors",
    "crash": "errors",
    "problem": "errors",
    "broken": "errors",
    "wrong": "errors",
    "server": "serve",
    "installation": "install",
    "setup": "install",
    "shell": "terminal",
    "cli": "terminal",
    "console": "terminal",
    "commandline": "terminal",
    "notebook": "loop",
    "jupyter": "loop",
    "synchronous": "loop",
    "sync": "loop",
    "fast": "speed",
    "quick": "speed",
    "slow": "speed",
    "performance": "speed",
    "licence": "license",
    "free": "cost",
    "price": "cost",
    "pricing": "cost",
    "pictures": "images",
    "picture": "images",
    "photo": "images",
    "photos": "images",
    "screenshot": "images",
    "vision": "images",
    "delete": "remove",
    "connect": "add",
    "attach": "attachments",
    "chats": "conversations",
    "history": "conversations",
    "2fa": "totp",
    "otp": "totp",
    "kubernetes": "container",
    "k8s": "container",
    "daemon": "systemd",
    "autostart": "systemd",
    "upgrade": "update",
    "autocomplete": "completion",
    "tab": "completion",
    "long": "timeout",
    "hangs": "timeout",
    "hang": "timeout",
    "stuck": "timeout",
    "configuration": "config",
    "settings": "config",
    "certificates": "certificate",
    "ssl": "tls",
    "gpu": "hardware",
    "spend": "cost",
    "spent": "cost",
    "spending": "cost",
    "budget": "limit",
    "thinking": "reasoning",
    "colleague": "people",
    "colleagues": "people",
    "colors": "colours",
    "color": "colours",
    "abort": "cancel",
    "interrupt": "cancel",
    "privacy": "logged",
    "питон": "python",
    "питона": "python",
    "питоне": "python",
    "питоном": "python",
    "докер": "docker",
    "докере": "docker",
    "контейнер": "docker",
    "опенаи": "openai",
    "клод": "claude",
    "токены": "токен",
    "войти": "логин",
    "залогиниться": "логин",
    "авторизация": "логин",
    "вход": "логин",
    "подключить": "добавить",
    "сервер": "шлюз",
    "изображения": "картинки",
    "фото": "картинки",
    "цена": "стоит",
    "бесплатно": "стоит",
    "бесплатный": "стоит",
    "лицензии": "лицензия",
    "офлайн": "интернета",
    "оффлайн": "интернета",
    "диалог": "разговор",
    "диалоги": "разговор",
    "чаты": "разговор",
    "параметры": "параметр",
    "опции": "параметр",
    "конфиг": "настройка",
    "конфигурация": "настройка",
    "деинсталлировать": "удалить",
    "снести": "удалить",
    "деинсталляция": "удалить",
    "апи": "api",
    "запуск": "запустить",
    "корпоративный": "компании",
    "корпоративного": "компании",
    "генерация": "ответ",
    "генерацию": "ответ",
    "гигачат": "gigachat",
    "яндексгпт": "yandexgpt",
    "докера": "docker",
    "картинку": "картинки",
    "потратили": "расход",
    "потрачено": "расход",
    "расходы": "расход",
    "вебсокеты": "вебсокет",
    "код": "ошибки",
    "коды": "ошибки",
}

# Phrases that count as one word.
_PHRASES = (
    (re.compile(r"\b(log|sign)(ging)?( me| myself)? (out|off)\b"), "logout"),
    (re.compile(r"\b(log|sign)(ging)?( me| myself)? in\b"), "login"),
    (re.compile(r"\btime limits?\b"), "timeout"),
    (re.compile(r"\bone[- ]time codes?\b"), "totp"),
)

_ENGLISH_END = re.compile(r"(?<=...)(ations?|ings?|edly|ed|ies|es|s|ly|er|ers)$")
_RUSSIAN_END = re.compile(
    "(?<=...)(ками|кой|ок|ка|ки|ке|ку|иями|ями|ами|ого|его|ому|ему|ыми|ими|ешь|ишь|ать|ять|ить|еть|уть|ться|тся|ах|ях|ов|ев"
    "|ей|ой|ый|ий|ая|яя|ое|ее|ые|ие|ам|ям|ом|ем|ую|юю|ти|ть|ся|ия|ию|ии|а|я|о|е|у|ю|ы|и|ь)$"
)


def words(text: str) -> list[str]:
    """Return the words of a text, in lower case."""
    text = text.lower().replace("ё", "е")
    for pattern, said in _PHRASES:
        text = pattern.sub(said, text)
    return re.findall(r"[^\W_]+", text)


def stem(word: str) -> str:
    """Return the common stem of a word's forms; roughly, but the same for question and manual."""
    if re.search("[а-я]", word):
        return _RUSSIAN_END.sub("", word) if len(word) > 3 else word
    if len(word) <= 3 or word.endswith("ss"):
        return word
    cut = _ENGLISH_END.sub("", word)
    cut = cut[:-1] if len(cut) > 4 and cut.endswith("e") else cut
    return cut[:-1] if len(cut) > 4 and cut[-1] == cut[-2] and cut[-1] in "tnpmg" else cut


def stems(text: str) -> list[str]:
    """Return the stems of all words of a text."""
    return [stem(word) for word in words(text)]


def canonical(word: str) -> str:
    """Return the stem of the manual's word for a word."""
    return stem(_SAME.get(word, word))


LITTLE = frozenset(stem(word) for word in _SAY_LITTLE.split())


def terms(question: str) -> list[tuple[str, frozenset[str]]]:
    """Return the significant words of a question, each with its possible stems."""
    asked: dict[str, tuple[str, frozenset[str]]] = {}
    for word in words(question):
        if word not in STOP_WORDS and len(word) > 1:
            meant = frozenset({stem(word), canonical(word)})
            known = asked.get(canonical(word))
            asked[canonical(word)] = (word, meant | known[1] if known else meant)
    return list(asked.values())
