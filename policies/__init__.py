"""What to show and why, as pure functions of numbers: posteriors, algorithms, propensities, evidence, and the specs that declare them."""
