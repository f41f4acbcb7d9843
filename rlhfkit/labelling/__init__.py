"""People rank answers in the browser, and what their rankings are worth. No torch here."""
