"""What the planner is held against: measured runs, load tests, traces and another planner."""
