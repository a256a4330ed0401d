"""Shards: a production cut into pieces that need no scheduler, and the state of each."""

from gen2reco.shards.manifest import Input, Manifest, Shard, load_manifest, numbers_of, plan
from gen2reco.shards.state import State, state_of

__all__ = ["Input", "Manifest", "Shard", "State", "load_manifest", "numbers_of", "plan", "state_of"]
