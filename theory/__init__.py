"""Two-layer networks and their theorems; imports nothing from surgicalft, which imports nothing from here."""
