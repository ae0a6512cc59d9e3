"""The endpoints: one file per group, each a class that is given what it needs."""
