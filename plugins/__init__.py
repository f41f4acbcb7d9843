"""The built-in plugins, through the same public hooks as anyone's: one folder, one plugin.

A folder's `__init__.py` is the cheap part (options as dataclasses, and the hook); the modules
beside it hold what `Component.build` names, imported on first use.
"""
