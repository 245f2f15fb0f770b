"""Programs on top, each with its verb: calibrate, fewshot, crossval, cephalometry."""
