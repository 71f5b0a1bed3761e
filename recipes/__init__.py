"""The recipes that ship with rapgen."""
