"""Tools for services that take only text: offered in the prompt, called by fenced blocks."""
