"""Parts that all routes share, and the routes that describe the API itself."""
