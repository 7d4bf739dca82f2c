"""One module per thing the user can ask for; each is a page that calls the modules below."""
