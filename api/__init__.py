"""The HTTP API: tenants' requests, sign-up and the control center; also the operator's shell."""
