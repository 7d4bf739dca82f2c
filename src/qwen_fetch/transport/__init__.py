"""One line to the world: connections, and the two ways over which bytes come."""
