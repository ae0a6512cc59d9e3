"""The worker: records a notification of every event, exactly once."""
