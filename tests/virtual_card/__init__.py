"""A CUDA card which is not there: it catches what code gets wrong on a card, without one."""
