"""Debug sessions in a running node: where they start from, who uses them when, and how they survive."""
