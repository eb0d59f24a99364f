"""`python -m serving.campaigns`: settings from the environment."""

from serving.campaigns.server import main

main()
