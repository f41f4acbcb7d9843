"""Forms in which models leave a run: for transformers, TRL and OpenRLHF, llama.cpp and Ollama."""
