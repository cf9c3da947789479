"""Berlin's logins for other HTTP clients, which renew their tokens by themselves.

`berlin.adapters.httpx` needs httpx; `berlin.adapters.aiohttp` needs aiohttp 3.12 or newer.
"""
