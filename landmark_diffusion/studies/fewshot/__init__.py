"""The few-shot protocol as a command: a grid of starts, targets, numbers of labelled images and draws (paper B)."""
