"""The runnable half of the handbook: one module per chapter, executed when the site is built."""
