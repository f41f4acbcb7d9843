"""Recipe presets, `recipe/<name>.yaml`, chosen by `recipe=<name>`."""
