"""`python -m routeline`."""

from .cli import main

main()
