"""The standard Hugging Face cache on this disk: where things lie, what was read, who holds what."""
