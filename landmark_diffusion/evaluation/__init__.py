"""Tables and figures of a test run, made from an evaluation; importing them does not import matplotlib."""
