"""Project files: what is kept, what is undone, and what hostile files, full disks and dead programs do."""
