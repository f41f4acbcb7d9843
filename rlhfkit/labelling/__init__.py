"""People rank answers in the browser: the page, its storage, who may label. No torch here."""
