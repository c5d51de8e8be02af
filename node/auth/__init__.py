"""Who may speak to the node: certificate and token, both made on the first run."""
