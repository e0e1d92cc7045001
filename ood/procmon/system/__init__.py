"""What the process monitor asks of Linux: users, processes, files that change, commands run."""
