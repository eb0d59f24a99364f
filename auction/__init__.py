"""What an impression is worth, who wins and what the winners pay. Pure."""
