"""Conversion over HTTP: uploads, jobs in sandboxed worker processes, results, a page for people."""
