"""What ``make bench`` runs: the service against a bare Flask route and against pgbench."""
