"""What the verbs that answer by HTTP share: the socket, who may ask, limits on what is sent, errors, start and stop."""
