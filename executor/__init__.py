"""What job_executor.py is made of: the loop, a job in progress, the heartbeat, the engines in memory, failures."""
