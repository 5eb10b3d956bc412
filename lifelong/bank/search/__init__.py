"""How queries are compared with a bank's keys."""
