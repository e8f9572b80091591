"""Keeps the studio's processes running: starts them, sees when one dies or hangs, starts it again, stops them in order.

    python -m starter studio --executors 2 --port 8501     the web app and executors, as scripts/start.sh does
    python -m starter web --port 8501                      the web app alone
    python -m starter executor --device cuda:0 --batch 8   one executor; what follows goes to job_executor.py
    python -m starter health                               whether all that starters of this folder keep is well

One road for a terminal, systemd (deploy/systemd) and containers (Dockerfile). Exit statuses: 0 stopped as asked, 1
given up or not begun (the port is taken), 2 it cannot work as configured, 130 stopped at once by a second Ctrl-C.
"""
