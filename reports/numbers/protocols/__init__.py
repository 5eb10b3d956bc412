"""The published protocols of sequential editing, each a pure function from fact tables to one table."""
