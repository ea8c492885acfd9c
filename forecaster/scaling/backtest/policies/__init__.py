"""Ways to set a floor, one module each, over one interface: ours beside what others ship or write down by hand."""
