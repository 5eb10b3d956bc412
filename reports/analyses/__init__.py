"""Questions about a stream of edits, answered from facts: what survives, what broke what, which law curves follow."""
