"""The records of a user's or a project's file, and what is wrong with them."""
