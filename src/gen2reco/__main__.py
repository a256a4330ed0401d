"""`python -m gen2reco`."""

from gen2reco.cli import main

if __name__ == "__main__":
    main()
