"""The sources of a draft: HAR files, curl commands and recorded requests."""
