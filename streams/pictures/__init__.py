"""Opens the picture that a reference names: where a path may lead, what is read and shown."""
