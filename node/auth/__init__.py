"""Authentication: the TLS certificate, the access token and the signing key, each made when first needed."""
