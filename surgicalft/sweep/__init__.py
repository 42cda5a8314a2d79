"""Many runs: grids of settings, the engine that executes them, and the store of their records."""
