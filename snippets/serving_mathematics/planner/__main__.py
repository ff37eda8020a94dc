"""The planner from the command line: `serving-mathematics plan --help`."""

import sys

from serving_mathematics.planner.planner_command import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
