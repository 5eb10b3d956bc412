"""What is edited and when: facts, edits, their order and their arrivals; knows no model and no torch."""
