"""Control: what operators see and do, with one module for each noun of ``/cc`` and the shell."""
