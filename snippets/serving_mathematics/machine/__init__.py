"""The machine: what a step of a language model costs, and how far that can be trusted."""
