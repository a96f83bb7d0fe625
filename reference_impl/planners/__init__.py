"""What is written and read by whom."""
