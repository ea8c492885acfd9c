"""The view: what an SRE looks at. Reads through the stores, decides nothing."""
