"""YAML of the plugin: `recipe/brevity.yaml`."""
