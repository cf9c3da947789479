"""The two programs that the class was made for, as a user would run them."""

from __future__ import annotations

from pathlib import Path

from support.chat_service import ChatService
from support.forward_proxy import ForwardProxy

EXAMPLES = Path(__file__).parent / "examples"
PLACEHOLDER = '"http://your-proxy-url:8080"'


async def test_the_first_example_runs_as_it_stands() -> None:
    """The program without a proxy prints the answer, and nothing on standard error."""
    async with ChatService(["I am ", "fine", "."]) as service:
        program = await service.run(EXAMPLES / "first.py")
        assert (program.out, program.err, program.code) == ("I am fine.\n", "", 0)
        assert len(service.logins) == 1
        [chat] = service.chats
        assert chat.json["prompt"] == "Hello, how are you?"
        assert chat.json["options"] == {
            "model": "gpt-3.5-turbo",
            "temperature": 0.5,
            "presence_penalty": 0,
            "frequency_penalty": 0,
            "max_tokens": 1888,
        }
        assert set(chat.json) == {"prompt", "parentMessageId", "options"}


async def test_the_second_example_runs_through_its_proxy(tmp_path: Path) -> None:
    """The program with a proxy prints the answer, and all that it sends goes through the proxy."""
    source = (EXAMPLES / "second.py").read_text("utf-8")
    assert source.count(PLACEHOLDER) == 1
    async with ForwardProxy() as proxy, ChatService(["Хорошо", ", ", "спасибо!"]) as service:
        # That name belongs to nobody: a user writes the own proxy's URL in its place.
        program_file = tmp_path / "second.py"
        program_file.write_text(source.replace(PLACEHOLDER, f'"{proxy.url}"'), "utf-8")
        program = await service.run(program_file)
        assert (program.out, program.err, program.code) == ("Хорошо, спасибо!\n", "", 0)
        assert proxy.requests == [
            f"POST {service.url}/api/login HTTP/1.1",
            f"POST {service.url}/api/chat/completions HTTP/1.1",
        ]
        assert proxy.bytes_back > service.sent > 0
        assert service.opened == len(proxy.requests)  # nothing went around it
        assert service.chats[0].json["prompt"] == "Привет, как дела?"


async def test_the_second_example_fails_clearly_where_there_is_no_such_proxy() -> None:
    """Exactly as it stands, the name of its proxy is unknown: a proxy error, and nothing sent."""
    async with ChatService() as service:
        program = await service.run(EXAMPLES / "second.py")
        assert program.code == 1
        assert program.out == ""
        assert "berlin.errors.ProxyError: " in program.err
        assert "http://your-proxy-url:8080" in program.err
        assert service.opened == 0
