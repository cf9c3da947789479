"""Embeddings and completions with the clients of OpenAI, Ollama and LangChain.

Usage: python use_embeddings.py URL KEY MODEL.
"""

import ollama
import openai
from langchain_openai import OpenAIEmbeddings
from pydantic import SecretStr
from told import PROMPT, asked, tell

URL, KEY, MODEL = asked()
TEXTS = ["one", "two"]

with openai.OpenAI(base_url=f"{URL}/v1", api_key=KEY, max_retries=0) as api:
    by_openai = api.embeddings.create(model=MODEL, input=TEXTS)
    completed = api.completions.create(model=MODEL, prompt=PROMPT)
    chunks = api.completions.create(model=MODEL, prompt=PROMPT, stream=True)
    streamed = "".join(chunk.choices[0].text for chunk in chunks if chunk.choices)

client = ollama.Client(host=URL, headers={"Authorization": f"Bearer {KEY}"})
by_langchain = OpenAIEmbeddings(
    base_url=f"{URL}/v1",
    api_key=SecretStr(KEY),
    model=MODEL,
    check_embedding_ctx_length=False,
)
tell(
    openai=[item.embedding for item in by_openai.data],
    usage=by_openai.usage.prompt_tokens,
    ollama=[list(vector) for vector in client.embed(MODEL, TEXTS).embeddings],
    langchain=by_langchain.embed_documents(TEXTS),
    completed=completed.choices[0].text,
    streamed=streamed,
)
