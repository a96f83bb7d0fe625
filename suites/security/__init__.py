"""The level security. What a hostile checkpoint, key or address can and cannot do."""
