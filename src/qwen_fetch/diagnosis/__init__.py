"""What is wrong: an exception or a look at the network becomes a problem that helps."""
