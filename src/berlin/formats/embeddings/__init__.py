"""Embeddings in the dialects of OpenAI and Ollama."""
