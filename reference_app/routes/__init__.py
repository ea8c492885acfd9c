"""The routes, by resource. They check input, ask the parts, and shape the answer."""
