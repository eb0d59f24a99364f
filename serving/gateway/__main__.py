"""`python -m serving.gateway`: settings from the environment."""

from serving.gateway.server import main

if __name__ == "__main__":
    main()
