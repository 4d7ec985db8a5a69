"""What the stage `train` alone needs: the loop, and what stands around a step."""
