"""The level asynchronous. Saving in the background: staging, futures, overlap."""
