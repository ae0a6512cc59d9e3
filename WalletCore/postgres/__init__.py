"""The store on PostgreSQL (15 and later): schema ``coffer``."""
