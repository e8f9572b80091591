"""The API of the Automatic1111 web UI, /sdapi/v1, on the studio's own queue.

Field names and answers are those of AUTOMATIC1111/stable-diffusion-webui 1.10, modules/api. What a client leaves out is
what the studio draws best with, and what is not known here is passed over: its clients send dozens of fields.
"""

ROOT = "/sdapi/v1"
