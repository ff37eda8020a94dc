"""For whoever writes a chapter: begins one, says what it lacks, and cuts the formula font.

It calls the builder, and the builder does not know it.
"""
