"""Labels in the formats that other people's trainers read."""
