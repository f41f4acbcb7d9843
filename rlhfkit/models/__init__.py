"""Models as the stages see them; what several of them share in memory is the loader's affair."""
