"""``/cc``, the control center: routes for operators. One file per resource."""
