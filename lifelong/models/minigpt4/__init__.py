"""MiniGPT-4: its architecture, how its prompts are written, and a converter for the files it is published in."""
