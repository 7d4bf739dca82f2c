"""What a snapshot holds, and who said so."""
