"""`berlin chat`: one question or a conversation, and their history."""
