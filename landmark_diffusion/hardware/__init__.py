"""What this machine computes fastest: how threads wait, how many there are, and which precision.

Importing the package loads no torch: ``waiting`` has to come before it.
"""
