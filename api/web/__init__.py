"""What every route shares, and the routes that describe the API itself."""
