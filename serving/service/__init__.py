"""Use cases: what the product does when it is asked to score, told a reward, or asked about its policies."""
