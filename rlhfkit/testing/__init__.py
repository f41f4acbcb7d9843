"""Contract suites that plugin authors subclass."""
