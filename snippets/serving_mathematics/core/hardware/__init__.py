"""The machine: models, devices, deployments, steps and their constants."""
