"""Real processes and servers are killed under load, and every event must be recorded once."""
