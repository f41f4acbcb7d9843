"""What a run will need, told before anything is downloaded: `rlhfkit plan`.

The stages' own code runs on models of fake tensors, which have shapes and no storage, and every
tensor it would make is counted.
"""
