"""Builds an embeddings dialect from the table `[embeddings]`."""

from __future__ import annotations

from berlin.formats.embeddings.contract import EmbeddingFormat
from berlin.formats.embeddings.ollama import OllamaEmbeddings
from berlin.formats.embeddings.openai import OpenAIEmbeddings
from berlin.language.tables.models import EmbeddingsMap


def build_embeddings(described: EmbeddingsMap) -> EmbeddingFormat:
    """Return the dialect that a recipe names."""
    match described.format:
        case "openai":
            return OpenAIEmbeddings()
        case "ollama":
            return OllamaEmbeddings()
