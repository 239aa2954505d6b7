"""What benches/run is made of: the ends of the path, what is measured, the machine, the table."""
