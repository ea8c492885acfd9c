"""The command: mounts each package's commands, starts the embedded stack, tells the demo.

Nothing imports this package, except that every composition root builds its clock from the leaf module
`tidegauge.clock`.
"""
