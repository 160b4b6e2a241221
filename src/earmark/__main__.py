"""`python -m earmark` is the `earmark` command."""

from earmark.cli.main import main

main()
