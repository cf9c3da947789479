"""Keys that sign requests to AWS: given, from the container's platform, or by single sign-on."""
