"""``/cc``, the control center: what operators see and do. One file a resource."""
