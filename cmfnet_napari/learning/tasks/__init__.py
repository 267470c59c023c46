"""Tasks on worker processes, of this machine or of many: each done once, whoever is lost."""
