"""When edits, questions and withdrawals arrive, and what is asked."""
