"""Who may come in: one rule, one set of tokens and one count of failures for every transport."""
