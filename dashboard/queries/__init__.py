"""What the pages show, read through the stores that own the tables; what costs more is kept a moment."""
