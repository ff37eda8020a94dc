"""A real engine: a language model behind an API, measured and predicted."""
