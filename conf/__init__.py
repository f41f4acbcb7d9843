"""YAML of the core: `config.yaml` with the defaults, `model/` with model presets; `accelerate/` is
for `accelerate launch --config_file`."""
