"""Pages for a browser: what runs did, each in one file that needs no network."""
