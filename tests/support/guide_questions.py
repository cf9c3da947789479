"""Questions as users ask them, and the beginning of the title of the section that answers each.

`""`: the manual has nothing about it. Several titles: each of them is right.
"""

from __future__ import annotations

from typing import TypeAlias

Asked: TypeAlias = dict[str, str | tuple[str, ...]]

INSTALL = ("How do I install it",)
ADD = ("How do I add", "berlin add")

ENGLISH: Asked = {
    "how to strem tokens in pyhton": "How do I stream tokens in Python",
    "docker": "How do I run it in Docker",
    "can i run this in a contaner?": "How do I run it in Docker",
    "uninstall": "How do I uninstall",
    "how do i unistall berlin completely": "How do I uninstall",
    "does it support images?": "Does it support images",
    "can i send a picture": "Does it support images",
    "shell completion": "How do I get completion in my shell",
    "tab completion for zsh": "How do I get completion in my shell",
    "websocket": "Can I use it on a service with WebSocket",
    "TOTP": ("How do I log in with a one-time code", "One-time codes"),
    "my login wants a 2fa code": "How do I log in with a one-time code",
    "what can you do?": "What can you (this guide) do",
    "how do I run it as a systemd service": "How do I run it as a service of systemd",
    "instal with pipx": ("How do I install it with uv tool or pipx", *INSTALL),
    "how do i upgrade to a newer version": "How do I upgrade",
    "how to add my company chat": ADD,
    "add open webui": ("Which services does it recognise", *ADD, "Open WebUI", "open-webui"),
    "connect to a gradio app with pasword": ("gradio", "Which services", *ADD),
    "which services do you recognize": "Which services does it recognise",
    "remove a provider": ("How do I remove a service",),
    "delete my chat history": "How do I see, search or delete my old conversations",
    "where can i find old conversations": "How do I see, search or delete my old conversations",
    "get json output": "How do I get JSON or structured output",
    "structured output with a schema": "How do I get JSON or structured output",
    "does it do function calling": ("Does it support tools", "Tools"),
    "i forgot my pasword, login refused": "Why is my password wrong",
    "where are tokens stored on disk": "Where are my passwords and tokens kept",
    "how do i use my openai api key": ("How do I use an API key", *ADD, "How do I add OpenAI"),
    "rate limit exceeded what now": "Does it retry",
    "tiemout": "How do I set a timeout",
    "change the temprature": "How do I set temperature",
    "proxy settings": "How do I use a proxy",
    "self signed certificate": "How do I trust my own certificate",
    "why does it refuse http": "Why is plain http refused",
    "use with langchain": "LangChain",
    "claude code setup": ("Can I use it with Claude Code", "Claude Code"),
    "prometheus metrics": ("How do I monitor it", "Metrics"),
    "how do i talk to two accounts at once": "How do I use two or more accounts",
    "what licence is it under": "What does it cost",
}

RUSSIAN: Asked = {
    "что ты умеешь": "Что ты умеешь",
    "как установить берлин": "Как установить Berlin",
    "как удалить программу": "Как удалить",
    "запуск в докере": "Как запустить Berlin в Docker",
    "можно ли отправить картинку": "Поддерживаются ли картинки",
    "как подключить корпоративный чат": "Как добавить свой сервис",
    "добавить сервис": "Как добавить свой сервис",
    "как залогиниться": "Как войти",
    "не принимает пароль, ошибка": ("Какие бывают ошибки", "Где хранится пароль", "Как войти"),
    "где хранятся токены": "Где хранится пароль",
    "использование из питона": "Как использовать Berlin из Python",
    "прокси сервер": "Как работать через прокси",
    "как поменять температуру": "Как задать температуру",
    "таймаут ответа": "Как задать таймаут",
    "ключ апи openai": ("Как использовать ключ API", "Поддерживаются ли клиенты OpenAI"),
    "история разговоров": "Как посмотреть и удалить историю",
    "какие есть модели": "Какие модели есть",
    "работает без интернета?": "Работает ли Berlin без интернета",
    "сколько это стоит": "Сколько стоит",
    "как остановить генерацию ответа": "Как остановить ответ",
}

NOTHING: Asked = dict.fromkeys(
    (
        "write a haiku",
        "what is the capital of France",
        "how do I bake bread",
        "tell me a joke",
        "who won the world cup in 2022",
        "translate hello into french",
        "explain quantum entanglement",
        "weather tomorrow in Paris",
        "qwzx blorf",
        "recommend a good restaurant",
        "solve x^2 + 3x = 10",
        "lorem ipsum dolor",
        "how tall is mount everest",
        "compose a love song about the sea",
        "does it support blockchain",
        "mine bitcoin with my gpu",
        "напиши стихотворение про осень",
        "столица Франции",
        "как испечь хлеб",
        "абырвалг",
    ),
    "",
)
