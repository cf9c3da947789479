import asyncio

from berlin import Berlin


async def main():
    model_name = "gpt-3.5-turbo"
    messages: list[dict[str, str]] = [{"role": "user", "content": "Hello, how are you?"}]
    proxy_url = None
    extra_params = {"temperature": 0.5}

    async for response_chunk in Berlin.create_async_generator(
        model_name, messages, proxy_url, **extra_params
    ):
        print(response_chunk, end="")

    print()


if __name__ == "__main__":
    asyncio.run(main())
