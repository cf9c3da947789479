"""OpenAI's Responses, and Open Responses."""
