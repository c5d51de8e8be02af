"""The zvmd command."""
