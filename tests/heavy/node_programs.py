"""Flowise and n8n, which run on Node.js, and what sets them up."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aiohttp

from .programs import ENVIRONMENTS
from .upstream import MODEL

NODE = ENVIRONMENTS / "node"
PERSON = {"email": "ann@example.com", "password": "Secret-of-ann-1!"}


class Setup:
    """Requests to a program's own API, as the person who sets it up."""

    def __init__(
        self, session: aiohttp.ClientSession, url: str, headers: Mapping[str, str]
    ) -> None:
        self._session = session
        self._url = url
        self.headers = dict(headers)

    async def post(self, path: str, body: Any) -> Any:
        """Return what a request to the API gives."""
        async with self._session.post(self._url + path, json=body, headers=self.headers) as answer:
            said = await answer.text()
            assert answer.status < 400, said
            if "set-cookie" in answer.headers:  # marked for https only, and this is http
                cookies = [c.partition(";")[0] for c in answer.headers.getall("set-cookie")]
                self.headers["Cookie"] = "; ".join(cookies)
            return json.loads(said)


async def flow_of_flowise(setup: Setup, models: str) -> tuple[str, str]:
    """Make a flow with a memory, and return its id and its key."""
    user = {
        "name": "Ann",
        "email": PERSON["email"],
        "type": "pro",
        "credential": PERSON["password"],
    }
    await setup.post("/api/v1/account/register", {"user": user})
    await setup.post("/api/v1/auth/login", PERSON)
    template = NODE / "flowise/node_modules/flowise/marketplaces/chatflows/Conversation Chain.json"
    flow = json.loads(Path(template).read_text("utf-8"))
    model = next(n["data"] for n in flow["nodes"] if n["data"]["name"] == "chatOpenAI")
    model["name"] = "chatOllama"
    model["inputs"] = {"baseUrl": models, "modelName": MODEL, "streaming": True}
    asked = {"keyName": "berlin", "permissions": ["chatflows:view"]}
    (key,) = await setup.post("/api/v1/apikey", asked)
    data = json.dumps({"nodes": flow["nodes"], "edges": flow["edges"]})
    described = {"name": "f", "flowData": data, "type": "CHATFLOW", "apikeyid": key["id"]}
    return (await setup.post("/api/v1/chatflows", described))["id"], key["apiKey"]


async def workflow_of_n8n(setup: Setup, models: str, mode: str) -> str:
    """Make an active workflow with a memory, and return the id of its webhook."""
    credentials = {}
    for kind, data in (
        ("httpBasicAuth", {"user": "ann", "password": "secret"}),
        ("ollamaApi", {"baseUrl": models}),
    ):
        made = await setup.post("/rest/credentials", {"name": kind, "type": kind, "data": data})
        credentials[kind] = {"id": made["data"]["id"], "name": kind}
    hook = str(uuid.uuid4())
    trigger = {"public": True, "mode": "webhook", "authentication": "basicAuth"}
    nodes: list[dict[str, Any]] = [
        {"name": "chatTrigger", "typeVersion": 1.3, "webhookId": hook},
        {"name": "agent", "typeVersion": 2.2, "parameters": {"options": {}}},
        {"name": "lmChatOllama", "typeVersion": 1, "parameters": {"model": MODEL, "options": {}}},
        {"name": "memoryBufferWindow", "typeVersion": 1.3, "parameters": {}},
    ]
    nodes[0]["parameters"] = {**trigger, "options": {"responseMode": mode}}
    nodes[0]["credentials"] = {"httpBasicAuth": credentials["httpBasicAuth"]}
    nodes[2]["credentials"] = {"ollamaApi": credentials["ollamaApi"]}
    for node in nodes:
        kind = f"@n8n/n8n-nodes-langchain.{node['name']}"
        node |= {"id": node["name"], "type": kind, "position": [0, 0]}
    joints = {"chatTrigger": "main", "lmChatOllama": "ai_languageModel"}
    joints["memoryBufferWindow"] = "ai_memory"
    connections = {
        name: {kind: [[{"node": "agent", "type": kind, "index": 0}]]}
        for name, kind in joints.items()
    }
    described = {"name": mode, "nodes": nodes, "connections": connections, "settings": {}}
    made = (await setup.post("/rest/workflows", {**described, "active": False}))["data"]
    version = {"versionId": made["versionId"]}
    await setup.post(f"/rest/workflows/{made['id']}/activate", version)
    return hook
