"""rlhfkit: the InstructGPT loop as one resumable command, every part a plugin.

Start with `hookspecs` (what a plugin may add), `runner` (how stages follow one another) and
`stages/` (one file a stage, read top to bottom).
"""

import pluggy

hookimpl = pluggy.HookimplMarker("rlhfkit")
"""Marks a function of a plugin module as the implementation of a hook in `rlhfkit.hookspecs`."""
