"""The verbs, one module each; every one is a Python function and a command of the same name."""
