"""Small models that are no language models."""
