"""The host side: an agent per client, and a runner per process, around one supervisord.

Standard library only, Python 3.6 and up, nothing of this project imported: the folder is
sent to the host as one zip. The runner is a single file of its own, because a hundred of them run at once.
"""
