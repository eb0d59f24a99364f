"""The running processes: gateway, model server, pacer, archiver."""
