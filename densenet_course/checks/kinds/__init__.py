"""What exercises of one kind share: those that ask for functions, for modules, for networks, or get one given."""
