"""Trainings that a verb starts, each in a process of its own: shared by processes, stopped and gone on with."""
