"""What the node prints of its chain for people: transactions, failed calls and console.log."""
