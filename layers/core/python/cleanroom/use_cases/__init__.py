"""The order of effects: authorise, compile, price, charge, execute, noise, release."""
