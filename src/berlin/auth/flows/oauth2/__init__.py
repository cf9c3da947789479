"""OAuth 2.0: the flow of a token endpoint, with every supported grant."""
