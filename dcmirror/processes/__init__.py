"""The processes and threads of a running dcmirror."""
