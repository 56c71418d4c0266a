"""The panels around the graph. Each reads the session and changes it through commands."""
