"""The tables of the record and what is read from and written to them."""
