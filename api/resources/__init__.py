"""Resources: one file each, with its routes, its inputs and outputs, and its statements."""
