"""Solutions to the exercises of this part."""
