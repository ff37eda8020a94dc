"""The planner from the command line: `serving-mathematics plan --help`."""

import sys

from serving_mathematics.__main__ import main

if __name__ == "__main__":
    sys.exit(main(["plan", *sys.argv[1:]]))
