"""The world state: flat values for reads, a trie for roots, change sets for the past."""
