"""What goes in and out over HTTP, as Pydantic models: validation and documentation in one."""
