"""Names of methods and modes of test-time adaptation."""

METHODS = ("memo", "tent")
MODES = ("episodic", "online")
