"""What a user adds from outside: a data set, a method and a form of output, one file each."""
