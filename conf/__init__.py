"""YAML of the core: `config.yaml` with the defaults, `model/` with model presets."""
