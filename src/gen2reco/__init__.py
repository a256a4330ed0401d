"""gen2reco: learn p(RECO | GEN) from simulated events, then turn GEN events into RECO events."""

__version__ = "0.1.0"
