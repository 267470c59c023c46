"""CmFNet, its losses, training and prediction: the only room that imports torch."""

import os

# Torch's threads spin while they wait. Two spinning programs on the same cores (a fit and a
# window, or two fits) were seen to slow each other 15 times; sleeping ones share fairly. The
# runtime reads this once, when torch is first imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
