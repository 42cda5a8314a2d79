"""`python -m surgicalft`: the command `surgicalft`, where it is not on the PATH."""

import sys

from surgicalft.cli import main

if __name__ == "__main__":
    sys.exit(main())
