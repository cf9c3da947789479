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

# Synonyms: the manual's word, and what people write for it.
_WRITTEN = {
    "service": "endpoint provider backend chatbot",
    "login": "signin sign log auth authenticate authentication",
    "password": "credentials creds",
    "errors": "fail fails failed failure exception exceptions crash problem broken wrong",
    "serve": "server",
    "install": "installation setup",
    "terminal": "shell cli console commandline",
    "loop": "notebook jupyter synchronous sync",
    "speed": "fast quick slow performance",
    "license": "licence",
    "cost": "free price pricing spend spent spending",
    "images": "pictures picture photo photos screenshot vision",
    "remove": "delete",
    "add": "connect",
    "attachments": "attach",
    "conversations": "chats history",
    "totp": "2fa otp",
    "container": "kubernetes k8s",
    "systemd": "daemon autostart",
    "update": "upgrade",
    "completion": "autocomplete tab",
    "timeout": "long hangs hang stuck",
    "config": "configuration settings",
    "certificate": "certificates",
    "tls": "ssl",
    "hardware": "gpu",
    "limit": "budget",
    "reasoning": "thinking",
    "people": "colleague colleagues",
    "colours": "colors color",
    "cancel": "abort interrupt",
    "logged": "privacy",
    "python": "питон питона питоне питоном",
    "docker": "докер докере контейнер докера",
    "openai": "опенаи",
    "claude": "клод",
    "токен": "токены",
    "логин": "войти залогиниться авторизация вход",
    "добавить": "подключить",
    "шлюз": "сервер",
    "картинки": "изображения фото картинку",
    "стоит": "цена бесплатно бесплатный",
    "лицензия": "лицензии",
    "интернета": "офлайн оффлайн",
    "разговор": "диалог диалоги чаты",
    "параметр": "параметры опции",
    "настройка": "конфиг конфигурация",
    "удалить": "деинсталлировать снести деинсталляция",
    "api": "апи",
    "запустить": "запуск",
    "компании": "корпоративный корпоративного",
    "ответ": "генерация генерацию",
    "gigachat": "гигачат",
    "yandexgpt": "яндексгпт",
    "расход": "потратили потрачено расходы",
    "вебсокет": "вебсокеты",
    "ошибки": "код коды",
}
_SAME = {word: ours for ours, written in _WRITTEN.items() for word in written.split()}

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
