"""From case outcomes to the one JSON truth of a run, and what is rendered from it.

Pure functions on plain data: nothing here imports pytest or torch, asks the clock or touches a backend. Only
`facts` looks at this machine, and only `events`, `known_failures` and `build.write` read or write files.
"""
