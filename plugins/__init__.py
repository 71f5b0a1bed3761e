"""First-party components; they come in through the same entry points as a stranger's."""
