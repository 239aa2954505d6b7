"""The interop laboratory: real peers, namespaces and traffic on one machine.

Everything a test makes carries the name of its run and is taken away again when the run ends,
also after an error, a signal or a crash (the next run sweeps what a dead one left behind).
"""
