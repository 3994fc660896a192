"""The demo company's world: what its systems hold over two years and what is true behind them.

``generate`` makes it from a seed; ``hardness`` says whether it is hard enough. What carries the
world into real databases, files and servers is not here.
"""

from customer360.demo.world.generate import SIZES, generate

__all__ = ["SIZES", "generate"]
