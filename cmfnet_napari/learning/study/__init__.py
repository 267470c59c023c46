"""Comparisons of methods: a file, its jobs, its tables and figures."""
