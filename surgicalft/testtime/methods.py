"""Names of methods and modes of test-time adaptation."""

METHODS = ("memo", "gala", "tent")
MODES = ("episodic", "online")
ONLINE = ("gala", "tent")  # methods of which there are no episodes
