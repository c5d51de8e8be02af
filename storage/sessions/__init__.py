"""Debug sessions and users' templates on disk: records, the shelf of the newest ones, large files, the search."""
