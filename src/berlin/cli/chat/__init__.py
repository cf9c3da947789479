"""`berlin chat`: one question, a conversation, and what is kept of them."""
