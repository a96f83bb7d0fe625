"""Published certificates: a folder for each backend and version, and the pages that are made from them."""
