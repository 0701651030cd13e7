"""HTTP: tenants' requests, sign-up and the control center."""
