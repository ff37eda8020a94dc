"""The planner from the command line: `python -m snippets.planner --help`."""

import sys

from snippets.planner.planner_command import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
