"""What a draft is made from: HAR files, curl commands and recorded requests."""
