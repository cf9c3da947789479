"""Berlin's logins for other HTTP clients, with automatic token renewal.

`berlin.adapters.httpx` needs httpx; `berlin.adapters.aiohttp` needs aiohttp 3.12 or newer.
"""
