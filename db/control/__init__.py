"""Control: what operators see and do. One module for each noun, as in ``/cc`` and the shell."""
