"""A site of django-tenants, as its documentation sets one up: the tenant is the request's host."""
