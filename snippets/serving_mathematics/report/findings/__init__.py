"""What may be wrong with a run, a function each."""
