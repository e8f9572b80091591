"""bfloat16 models on CPUs, with what torch does in many passes over memory made in one."""
