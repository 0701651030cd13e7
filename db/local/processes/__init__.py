"""Child processes: started, watched and stopped."""
