"""CmFNet, its losses, training and prediction: the only room that imports torch."""

import os

# Torch's threads spin while they wait for each other (GNU OpenMP). On two cores, two spinning
# fits took 20 s a step, two that soon go to sleep 1.7 s; alone it costs a quarter of the speed
# (0.59 for 0.46 s). The runtime reads this once, when torch is first imported.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")
