"""The machine: what one step of a language model costs on given devices, and how far to trust it."""
