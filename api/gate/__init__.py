"""The gate: decides who may call which route, and how often."""
