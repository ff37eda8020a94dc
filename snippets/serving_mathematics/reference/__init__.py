"""Reference pages: conventions that conflict, and what mixing them costs."""
