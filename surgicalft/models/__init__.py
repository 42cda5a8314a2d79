"""Networks, where their weights come from, and the training of source models."""
