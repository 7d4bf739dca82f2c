"""Values that everybody speaks in: it knows nothing of the rest."""
