"""The level scale. Large data, many items and bounded resources."""
